"""The lock of a folder: one live process works in it; any other gets an error that names it."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clusterseg.errors import UserError
from clusterseg.runs.holder import Holder, read_holder, this_process
from clusterseg.runs.rank import is_first_rank

FILE = ".lock"
BEAT = 5.0  # seconds between two heartbeats
PATIENCE = 30.0  # seconds to wait for the next heartbeat of a holder on another host
OLD = 300.0  # seconds after the last heartbeat at which the lock counts as abandoned
SETTLE = 1.0  # seconds after which two writers have seen each other, on file systems without locks
_held: dict[
    Path, tuple[int, int]
] = {}  # process id and thread id: the system's lock belongs to the process, not to a thread


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; nested calls and calls on other ranks do nothing.

    Raises:
        UserError: Another process works in the folder, or it cannot be written.
    """
    key, me = folder.absolute(), (os.getpid(), threading.get_ident())
    if _held.get(key) == me or not is_first_rank():
        yield
        return
    if key in _held and _held[key][0] == me[0]:
        raise _refusal(folder, this_process())
    lock = FolderLock(folder)
    lock.acquire()
    _held[key] = me
    try:
        yield
    finally:
        del _held[key]
        lock.release()


class FolderLock:
    """A lock held from `acquire` to `release`, or until its process dies, also by SIGKILL.

    The lock is a file that names its holder. Where the file system supports record locks, the record lock on this
    file decides: it ends with its process, works over NFS, and is not inherited by loader workers. Where the file
    system has no record locks, or only within one host, the holder decides: on this host by its process, on another
    host by the file's modification time, which a thread refreshes every `BEAT` seconds.

    Args:
        folder: The folder to lock; created if missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE
        self._file: int | None = None
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="folder-lock", daemon=True)

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            UserError: Another process works in it, or it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while self._file is None:
                self._file = self._take()
        except OSError as error:
            raise UserError(
                f"run folder {self.folder} cannot be written ({error.strerror}); choose one by hydra.run.dir=DIR"
            ) from error
        self._beating.start()

    def release(self) -> None:
        """Release the lock."""
        if self._file is None:
            return
        self._ended.set()
        self._beating.join()
        if self._is_there(self._file):
            self.path.unlink(
                missing_ok=True
            )  # before the lock is released: a process that has opened the file in between finds it gone
        os.close(self._file)
        self._file = None

    def _take(self) -> int | None:
        """Return the open, locked file with this process as holder; None to retry if its holder has just removed it."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = _lock(file)
            if locked is None:
                raise _refusal(self.folder, _holder(file))
            if self._is_there(file):
                self._require_dead(file)
                _write(file, this_process())
                if not locked:
                    time.sleep(SETTLE)
                    self._require_mine(file)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return None

    def _is_there(self, file: int) -> bool:
        """Whether the open file is still the one in the folder."""
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _require_dead(self, file: int) -> None:
        holder = _holder(file)
        if holder is not None and (holder.lives if holder.is_here else self._beats()):
            raise _refusal(self.folder, holder)

    def _require_mine(self, file: int) -> None:
        holder = _holder(file)
        if holder is None or (holder.host, holder.pid) != (this_process().host, os.getpid()):
            raise _refusal(self.folder, holder)

    def _beats(self) -> bool:
        """Whether the holder on another host is alive; waits for the next heartbeat if the last one is recent."""
        last = os.stat(self.path).st_mtime_ns
        end = time.monotonic() + (PATIENCE if abs(time.time() - last / 1e9) < OLD else 0.0)
        while time.monotonic() < end:
            time.sleep(PATIENCE / 30)
            if os.stat(self.path).st_mtime_ns != last:
                return True
        return False

    def _beat(self) -> None:
        while self._file is not None and not self._ended.wait(BEAT):
            try:
                os.utime(self._file)
            except OSError:  # the disk is temporarily unavailable
                continue


def is_worked_in(folder: Path) -> bool:
    """Whether a live process of this host holds the folder; for jobs whose sweep has died."""
    if folder.absolute() in _held:
        return True  # do not open the file: closing it would release this process's lock
    try:
        holder = read_holder((folder / FILE).read_text())
    except OSError:
        return False
    return holder is not None and holder.is_here and holder.lives


def _lock(file: int) -> bool | None:
    """Try the system's record lock: True if taken, None if another process holds it, False if unsupported."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in (errno.EACCES, errno.EAGAIN) else False
    return True


def _holder(file: int) -> Holder | None:
    return read_holder(os.pread(file, 4096, 0).decode("utf-8", "replace"))


def _write(file: int, holder: Holder) -> None:
    content = holder.as_text().encode()
    os.pwrite(file, content, 0)
    os.ftruncate(file, len(content))
    os.fsync(file)


def _refusal(folder: Path, holder: Holder | None) -> UserError:
    return UserError(
        f"{folder}: another run works in this folder ({holder or 'it is just starting'}); wait for its end, or choose "
        "another folder: hydra.run.dir=DIR, for a sweep hydra.sweep.dir=DIR"
    )
