"""Describe what `deterministic=true` guarantees."""

from __future__ import annotations

#: By engine, why two runs may differ on CUDA. For the rest of a step see `statement`.
ENGINES = {
    "triton": "sparse.backend=triton, where each process tunes its blocks by timing, and so its order of sums",
    "torchsparse": "sparse.backend=torchsparse, whose own kernels add atomically, unseen by PyTorch's check",
    "spconv": "sparse.backend=spconv, whose own kernels add atomically, unseen by PyTorch's check",
}


def statement(device: str, engine: str, ranks: int) -> str:
    """State what a run with `deterministic=true` repeats bit for bit, and what it may not.

    On CUDA PyTorch itself refuses operators without a deterministic form. Of the operators of a step, `scatter_add_`
    (counts of the anchor sampling), `index_copy_` (bank) and the backward of `index_select` and `gather` have one;
    `embedding_bag` sums in the forward pass only, in a fixed order; `cumsum`, `bincount` and `scatter_add_`
    sum integers.

    Args:
        device: `cpu` or `cuda`.
        engine: `sparse.backend`.
        ranks: Number of processes of the run.
    """
    if device == "cpu":
        return "deterministic: the same command on the same number of threads gives the same bits"
    apart = [ENGINES[engine]] if engine in ENGINES else []
    if ranks > 1:
        apart.append("sums over ranks, where NCCL may choose another order on another machine")
    listed = "; not held to it: " + "; ".join(apart) if apart else ""
    return f"deterministic: PyTorch's operators are held to it{listed} (not run on a GPU yet)"
