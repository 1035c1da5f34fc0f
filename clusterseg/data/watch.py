"""End loader processes that hang, so that no run waits forever for a batch or at its end."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.process import BaseProcess
from typing import Any
from weakref import WeakSet

from clusterseg.errors import UserError

SECONDS = 600.0  # seconds without a batch after which loader processes count as stuck
_workers: WeakSet[BaseProcess] = WeakSet()  # among the children of this process


def watched(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield the batches of a DataLoader's iterator with a time limit.

    PyTorch's own time limit is not enough: it does not cover a process that hangs after announcing a batch.

    Raises:
        UserError: No batch arrived for `SECONDS`; the processes have been ended.
    """
    workers = getattr(batches, "_workers", ())
    _workers.update(workers)
    while True:
        with _limit(workers) if workers else nullcontext():
            try:
                batch = next(batches)
            except StopIteration:
                return
        yield batch


@contextmanager
def _limit(workers: Iterable[BaseProcess]) -> Iterator[None]:
    """End the workers after the time limit, which also ends the wait for them."""
    over = threading.Event()
    timer = threading.Timer(SECONDS, _end, (workers, over))
    timer.daemon = True
    timer.start()
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        if not over.is_set():
            raise
        raise UserError(
            f"the processes that load scans have sent none for {SECONDS:g} s: the disk does not answer, or one of them "
            "hangs; look at the disk and the machine's memory, or set data.num_workers=0"
        ) from error
    finally:
        timer.cancel()


def _end(workers: Iterable[BaseProcess], over: threading.Event) -> None:
    over.set()
    for worker in workers:
        worker.kill()


def living_workers() -> list[BaseProcess]:
    """Return the loader processes of this one."""
    return [process for process in multiprocessing.active_children() if process in _workers]


def end_workers() -> None:
    """End the loader processes that a DataLoader could not; at its own end Python would wait for them."""
    for process in living_workers():
        process.kill()
