"""Sparse gradients of a few selected rows on the CPU, without dense matrices."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def accept_row_gradients(feats: Float[Tensor, "rows channels"]) -> Float[Tensor, "rows channels"]:
    """The same features, marked for `take_rows`; for features that a network reads on with and others take rows of.

    The gradient of the rows then travels as a sparse tensor, and autograd adds it into the dense one that comes back
    through the network. Should nothing else use the features, it becomes dense here, for the layers above.
    """
    marked: Tensor = _AcceptRowGradients.apply(feats)
    return marked


def take_rows(feats: Float[Tensor, "rows channels"], index: Int[Tensor, " taken"]) -> Float[Tensor, "taken channels"]:
    """`feats[index]`, whose gradient is sparse where the features accept that, on a CPU.

    (On CUDA the sum of a sparse and a dense gradient waits for the host, while writing a whole matrix is cheap.)
    """
    accepts = getattr(feats.grad_fn, "accepts_row_gradients", False)
    return F.embedding(index, feats, sparse=feats.device.type == "cpu" and accepts)


class _AcceptRowGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor) -> Tensor:
        ctx.accepts_row_gradients = True
        return feats.view_as(feats)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.to_dense() if grad.is_sparse else grad


def at_least_float32(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Widen half precision to float32; other types stay."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
