"""The lock of a folder: one live process works in it, and whoever else comes is told which."""

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
BEAT = 5.0  # seconds between two signs of life
PATIENCE = 30.0  # seconds to wait for the next one of a holder on another host
OLD = 300.0  # seconds since the last one, after which nobody waits
SETTLE = 1.0  # seconds in which two writers must have seen each other, where there are no locks
_held: dict[Path, tuple[int, int]] = {}  # process and thread: the system's lock belongs to the process, not to a thread


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder meanwhile; inside of itself, and on the other ranks of a job, it does nothing.

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
    """Held from `acquire` to `release`, or until its process dies, by SIGKILL too.

    It is a file with its holder in it. The system's record lock on that file decides where there is one: it ends with
    its process, reaches over NFS, and is not inherited by loader workers. Where a file system has none, or keeps it to
    one host, the holder decides: on this host by its process, on another by the file's time, which a thread sets anew
    every `BEAT` seconds.

    Args:
        folder: What is locked; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE
        self._file: int | None = None
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="folder-lock", daemon=True)

    def acquire(self) -> None:
        """Take the folder.

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
        """Give the folder back."""
        if self._file is None:
            return
        self._ended.set()
        self._beating.join()
        if self._is_there(self._file):
            self.path.unlink(missing_ok=True)  # before the lock goes; who has opened it meanwhile finds it gone
        os.close(self._file)
        self._file = None

    def _take(self) -> int | None:
        """The open file, locked and naming this process; None where its holder has just removed it: once more."""
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
        """Whether the open file still is the one in the folder."""
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
        """Whether the holder on another host gives a sign of life; where the last one is recent, waits for the next."""
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
            except OSError:  # the disk is away for a while
                continue


def is_worked_in(folder: Path) -> bool:
    """Whether a live process of this host holds a folder; for the jobs of a sweep that is itself gone."""
    if folder.absolute() in _held:
        return True  # without a look at the file: to close it would end this process's lock on it
    try:
        holder = read_holder((folder / FILE).read_text())
    except OSError:
        return False
    return holder is not None and holder.is_here and holder.lives


def _lock(file: int) -> bool | None:
    """Whether the system's lock was taken; None where another process has it, False where there is none to take."""
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
