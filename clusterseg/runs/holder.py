"""Who works in a folder: a process on a host, since when, and whether it still lives."""

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
    """A process, as it is written into the lock of a folder.

    Attributes:
        host: Name of its machine, or of its container.
        boot: Which start of that machine; empty where the system does not tell.
        pid: Its number there.
        started: When it started, as the system counts; it tells a later process of the same number apart.
        since: When it took the folder, for people.
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
        """Whether its host is this one, so that its process can be looked for."""
        return self.host == socket.gethostname()

    @property
    def lives(self) -> bool:
        """Whether it still runs, where its host is this one."""
        return self.boot == _boot() and _runs(self.pid) and self.started == _started(self.pid)

    def as_text(self) -> str:
        """What `read_holder` reads."""
        return json.dumps(asdict(self)) + "\n"


def this_process() -> Holder:
    """The one that asks."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return Holder(socket.gethostname(), _boot(), os.getpid(), _started(os.getpid()), now)


def read_holder(text: str) -> Holder | None:
    """The holder in the content of a lock; None where there is none, as in the lock of a process that was killed."""
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _started(pid: int) -> str:
    """Start of a process in ticks since the machine's; empty where the system has no /proc, or no such process."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""
