"""Turn external failures during a run into one message with the resume command."""

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
    """Turn each external failure into one message: missing input, a killed worker or rank, a full GPU memory.

    Args:
        run_dir: The run folder.
        resumed: Whether the checkpoint already in `run_dir` belongs to this run.

    Raises:
        UserError: A failure occurred. The message includes the resume command if the run has written a checkpoint.
    """
    before = None if resumed else _written(run_dir)
    try:
        yield
    except UserError as error:
        message = str(error).rpartition("UserError: ")[2].strip()  # a worker process prepends its traceback
        raise UserError(message + how_to_resume(run_dir, before)) from error
    except torch.OutOfMemoryError as error:
        message = (
            "the GPU's memory is full; set data.batch_size, data.batch_voxels or data.max_voxels lower, or "
            "trainer.precision=bf16-mixed"
        )
        raise UserError(message + how_to_resume(run_dir, before)) from error
    except (RuntimeError, OSError, EOFError) as error:
        how = _worker_ended(error)
        if _rank_lost(error):
            message = f"rank {rank()} has lost another rank, which has ended: its own message, if any, gives the cause"
        elif how is not None:
            message = (
                f"a process that loads scans {how}; mostly the machine's memory is full: "
                "set data.num_workers lower or to 0"
            )
        else:
            raise
        raise UserError(message + how_to_resume(run_dir, before)) from error
    finally:
        end_workers()


def _rank_lost(error: Exception) -> bool:
    """Whether the error comes from a collective whose peer is gone (gloo, NCCL or the rendezvous store)."""
    return is_distributed() and (isinstance(error, DistError) or LOST.search(str(error)) is not None)


def _worker_ended(error: Exception) -> str | None:
    """How a loader worker ended, in words; None for other errors. A broken pipe also counts as an ended worker."""
    during = (
        error.__context__
    )  # PyTorch's signal handler may interrupt another operation, whose error then hides this one
    killed = WORKER.search(str(error)) or WORKER.search(str(during))
    if killed:
        pid, signal = killed.groups()
        return f"({pid}) was killed ({signal})" if signal else f"({pid}) ended unexpectedly"
    frames = traceback.walk_tb(error.__traceback__)
    if any("multiprocessing" in Path(frame.f_code.co_filename).parts for frame, _ in frames):
        return "ended unexpectedly"
    return None


def how_to_resume(run_dir: Path, before: int | None = None) -> str:
    """Return a line with the resume command for the last checkpoint; empty if the run has none."""
    written = _written(run_dir)
    if written is None or written == before:
        return ""
    again = f"ckpt=last hydra.run.dir={run_dir}"
    return f"\nThe last checkpoint is {_last(run_dir)}: to resume from it, add {again} to the command."


def _last(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / "last.ckpt"


def _written(run_dir: Path) -> int | None:
    """Modification time of the last checkpoint in nanoseconds; None if there is none."""
    return _last(run_dir).stat().st_mtime_ns if _last(run_dir).is_file() else None
