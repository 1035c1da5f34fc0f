"""The process that holds the lock of a folder: its host, its start, and whether it is alive."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """A process, as written into the lock file of a folder.

    Attributes:
        host: Host name of its machine or container.
        boot: Boot id of the machine; empty if the system has none.
        pid: Its process id on the host.
        started: Its start time in system ticks, which distinguishes it from a later process with the same id.
        since: When it took the lock, as readable text.
    """

    host: str
    boot: str
    pid: int
    started: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether its host is this one, so that its process can be checked."""
        return self.host == socket.gethostname()

    @property
    def lives(self) -> bool:
        """Whether the process still runs; valid only if `is_here`."""
        return self.boot == _boot() and _runs(self.pid) and self.started == _started(self.pid)

    def as_text(self) -> str:
        """Return the content of the lock file, for `read_holder`."""
        return json.dumps(asdict(self)) + "\n"


def this_process() -> Holder:
    """Return the holder of the current process."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return Holder(socket.gethostname(), _boot(), os.getpid(), _started(os.getpid()), now)


def read_holder(text: str) -> Holder | None:
    """Parse the content of a lock file; None if it names no holder, as after a kill."""
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # belongs to another user
        return True
    return True


def _started(pid: int) -> str:
    """Start time of a process in ticks since boot; empty without /proc or without such a process."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""
