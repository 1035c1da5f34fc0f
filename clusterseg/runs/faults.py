"""What can go wrong outside of us while a run goes on, told with the way to go on from there."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.distributed import DistError

from clusterseg.data.watch import end_workers
from clusterseg.distributed import is_distributed, rank
from clusterseg.errors import UserError

WORKER = re.compile(r"DataLoader worker \((pid\S* [\d, ]+)\) (?:is killed by signal: ([^.]+)|exited unexpectedly)")
LOST = re.compile(r"gloo.*(Connection|closed|reset|Timed out)|NCCL.*(abort|remote|timeout)", re.DOTALL | re.IGNORECASE)


@contextmanager
def explained(run_dir: Path, resumed: bool) -> Iterator[None]:
    """Turn the faults of a run into one message each: input gone, a worker or a rank killed, a GPU's memory full.

    Args:
        run_dir: The run folder.
        resumed: Whether the checkpoint that lies there already is of this run.

    Raises:
        UserError: In their place; it also says how to resume, if the run has written a checkpoint.
    """
    before = None if resumed else _written(run_dir)
    try:
        yield
    except UserError as error:
        told = str(error).rpartition("UserError: ")[2].strip()  # a worker process prepends its traceback
        raise UserError(told + how_to_resume(run_dir, before)) from error
    except torch.OutOfMemoryError as error:
        told = "the GPU's memory is full; set data.batch_size or data.max_voxels lower, or trainer.precision=bf16-mixed"
        raise UserError(told + how_to_resume(run_dir, before)) from error
    except (RuntimeError, OSError, EOFError) as error:
        how = _worker_ended(error)
        if _rank_lost(error):
            told = f"rank {rank()} has lost another rank, which has ended: its own message, if it left one, tells why"
        elif how is not None:
            told = (
                f"a process that loads scans {how}; mostly the machine's memory is full: "
                "set data.num_workers lower or to 0"
            )
        else:
            raise
        raise UserError(told + how_to_resume(run_dir, before)) from error
    finally:
        end_workers()


def _rank_lost(error: Exception) -> bool:
    """Whether an error is that of a collective whose other end is gone (gloo, NCCL, or the store of the ranks)."""
    return is_distributed() and (isinstance(error, DistError) or LOST.search(str(error)) is not None)


def _worker_ended(error: Exception) -> str | None:
    """How a loader worker ended; None for another error. The news may also be that its pipe is broken."""
    during = error.__context__  # the news interrupts whatever is under way, which may stumble over that
    killed = WORKER.search(str(error)) or WORKER.search(str(during))
    if killed:
        pid, signal = killed.groups()
        return f"({pid}) was killed ({signal})" if signal else f"({pid}) ended unexpectedly"
    frames = traceback.walk_tb(error.__traceback__)
    if any("multiprocessing" in Path(frame.f_code.co_filename).parts for frame, _ in frames):
        return "ended unexpectedly"
    return None


def how_to_resume(run_dir: Path, before: int | None = None) -> str:
    """The line that tells how to go on from the last checkpoint; nothing where the run has none."""
    written = _written(run_dir)
    if written is None or written == before:
        return ""
    again = f"ckpt=last hydra.run.dir={run_dir}"
    return f"\nThe last checkpoint is {_last(run_dir)}: to go on from it, add {again} to the command."


def _last(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / "last.ckpt"


def _written(run_dir: Path) -> int | None:
    """When the last checkpoint was written, in nanoseconds; None without one."""
    return _last(run_dir).stat().st_mtime_ns if _last(run_dir).is_file() else None
