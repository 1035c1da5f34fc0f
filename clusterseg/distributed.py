"""Helpers around `torch.distributed` that also work in a single process."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor


def is_distributed() -> bool:
    """Whether a process group of more than one rank is up."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def end_with_parent() -> None:
    """End this rank when the process that started it dies (`LOCAL_RANK` above 0).

    A rank whose rank 0 is killed while they look for each other would wait for half an hour.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    if int(os.environ.get("LOCAL_RANK", 0)) > 0:
        threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def end_process_group() -> None:
    """End the process group, if there is one; another job may begin its own."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Index of this process, 0 without a process group."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Number of processes, 1 without a process group."""
    return dist.get_world_size() if is_distributed() else 1


def all_gather(tensor: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "world *shape"]:
    """Stack every rank's tensor; all must have one shape. The gradient reaches the local part only.

    It reaches it multiplied by the number of ranks: where every rank computes the same loss from the gathered
    whole, DDP's average over ranks of the parts' gradients then is the gradient of that loss.
    """
    if not is_distributed():
        return tensor.unsqueeze(0)
    return _AllGather.apply(tensor)


def all_gather_rows(tensor: Shaped[Tensor, "rows *shape"]) -> Shaped[Tensor, "all_rows *shape"]:
    """Concatenate all ranks' rows, with the gradient of `all_gather`.

    Their numbers may differ; the host has to know them, so that a GPU is waited for.
    """
    if not is_distributed():
        return tensor
    counts = all_gather(torch.tensor(len(tensor), device=tensor.device)).tolist()
    padding = tensor.new_zeros((max(counts) - len(tensor), *tensor.shape[1:]))
    parts = all_gather(torch.cat([tensor, padding]))
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def mean_over_ranks(tensor: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """Mean of every rank's tensor, without gradient."""
    tensor = tensor.detach()
    if not is_distributed():
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total / world_size()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank; all ranks get the same answer."""
    if not is_distributed():
        return flag
    flags = torch.tensor(int(flag), device=device)
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags.item())


def gather_objects(value: Any) -> list[Any]:
    """Gather every rank's value, by rank; for small objects outside of hot code."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = tensor.new_empty((dist.get_world_size(), *tensor.shape))
        dist.all_gather(list(parts.unbind(0)), tensor.contiguous())
        return parts

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad[dist.get_rank()] * dist.get_world_size()
