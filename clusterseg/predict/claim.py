"""Claim output files for one live prediction: a note in the output folder, locked while its process lives."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clusterseg.errors import UserError

_ORPHANS = 10.0  # maximum seconds that loader workers outlive a killed process


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Let one process at a time read and change a folder; without effect on file systems without locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Claim:
    """The files that this process is about to write below a folder.

    Call `take` inside `only_one`; it sets `is_alone`, whether no other live process writes into the folder.

    Args:
        folder: The output folder.
        names: The files, relative to it.
    """

    def __init__(self, folder: Path, names: set[str]) -> None:
        self.folder, self.names = folder, names
        self.path = folder / f".predict.{socket.gethostname()}.{os.getpid()}.tmp"
        self.is_alone = True
        self._descriptor = -1

    def take(self) -> None:
        """Claim the files; remove notes of dead processes.

        Raises:
            UserError: A live process has claimed one of them.
        """
        for note in sorted(self.folder.glob(".predict.*.*.tmp")):
            other = None if note == self.path else _owner(note)
            self.is_alone = self.is_alone and other is None
            if other is not None and self.names & set(other["files"]):
                raise UserError(
                    f"output={self.folder} is being written by another predict.py (process {other['process']} on "
                    f"{other['host']}); wait for it, or choose another output folder (if it is gone, remove {note})"
                )
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        with suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        owner = {"host": socket.gethostname(), "process": os.getpid(), "files": sorted(self.names)}
        os.write(self._descriptor, json.dumps(owner).encode())

    def release(self) -> None:
        """Release the files."""
        if self._descriptor >= 0:
            with suppress(OSError):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1


def _owner(note: Path) -> dict[str, Any] | None:
    """Return the process that wrote a note; None if it is dead or the note is another program's."""
    try:
        descriptor = os.open(note, os.O_RDWR)
    except OSError:
        return None
    try:
        owner = json.loads(note.read_bytes() or b"{}")
        if not (isinstance(owner, dict) and {"host", "process", "files"} <= set(owner)):
            return None
        if _is_live(descriptor, owner):
            return owner
        note.unlink(missing_ok=True)
    except ValueError:
        return None
    finally:
        os.close(descriptor)
    return None


def _is_live(descriptor: int, owner: dict[str, Any]) -> bool:
    here = owner["host"] == socket.gethostname()
    end = time.monotonic() + _ORPHANS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):  # no locks on this file system
                return not here or _runs(owner["process"])
        if not here or _runs(owner["process"]) or time.monotonic() > end:
            return True
        time.sleep(0.1)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, TypeError):
        return True
    return True
