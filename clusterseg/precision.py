"""Precision of what must not be taken in half of it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def at_least_float32(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Half precisions widened to float32, others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
