"""BatchNorm with its ReLU: its input alone is kept for the backward pass, the output is computed again there.

In C where that is built: forward in one pass over memory, backward in two. Else by PyTorch's operators.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from clusterseg import compiled


class Recipe:
    """How to compute max(0, feats * scale + shift) again.

    Args:
        feats: (rows, channels), as they went into the norm.
        scale: (channels,).
        shift: (channels,).
    """

    def __init__(self, feats: Tensor, scale: Tensor, shift: Tensor) -> None:
        self.feats, self.scale, self.shift = feats.detach(), scale, shift
        self.made: Tensor | None = None

    def make(self) -> Tensor:
        """The result, computed once for all that ask for it in a backward pass."""
        if self.made is None and _in_c(self.feats):
            self.made = torch.empty_like(self.feats)
            compiled.call("norm", self.feats, self.scale, self.shift, self.made, *self.feats.shape)
        elif self.made is None:
            self.made = torch.addcmul(self.shift, self.feats, self.scale).clamp_min_(0)
        return self.made


class NormReLU(torch.autograd.Function):
    """ReLU of a BatchNorm in training mode, (rows, channels), all of one floating type; updates the running statistics.

    A convolution that runs within `recomputed(output)` does not keep the output for its backward pass either, so that
    of two tensors a layer one is left. The output must not be written over then.
    """

    @staticmethod
    def forward(
        ctx: Any,
        feats: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        eps: float,
        momentum: float,
    ) -> Tensor:
        """See the class."""
        mean, var = torch.batch_norm_update_stats(feats, running_mean, running_var, momentum)
        inverse_std = (var + eps).rsqrt()
        scale = weight * inverse_std
        ctx.recipe, ctx.eps = Recipe(feats, scale, bias - mean * scale), eps
        ctx.save_for_backward(feats, weight, running_mean, running_var, mean, inverse_std)
        output: Tensor = ctx.recipe.make()
        ctx.recipe.made = None  # whoever needs it holds it; the rest is made again
        ctx.version = output._version
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of input, weight and bias."""
        feats, weight, *statistics = ctx.saved_tensors
        recipe: Recipe = ctx.recipe
        if _in_c(feats):
            grads = [torch.empty_like(tensor) for tensor in (feats, weight, weight)]
            given = recipe.scale, recipe.shift, *statistics[2:], weight
            compiled.call("norm_gradient", feats, grad.contiguous(), *given, *grads, *feats.shape)
        else:
            grad = torch.ops.aten.threshold_backward(grad, recipe.make(), 0)
            needed = list(ctx.needs_input_grad[:3])
            grads = torch.ops.aten.native_batch_norm_backward(grad, feats, weight, *statistics, True, ctx.eps, needed)
        recipe.made = None  # the convolutions that read the output have had it
        return *grads, *[None] * 4


def _in_c(feats: Tensor) -> bool:
    return feats.dtype == torch.float32 and feats.is_contiguous() and compiled.is_built()


def recomputed(feats: Tensor) -> AbstractContextManager[None]:
    """A context in which operations on the output of `NormReLU` do not save it, but how to compute it again."""
    made_by = feats.grad_fn  # the context of the function
    recipe = getattr(made_by, "recipe", None)
    if recipe is None or feats._version != getattr(made_by, "version", None) or not torch.is_grad_enabled():
        return nullcontext()
    pointer, shape = feats.data_ptr(), feats.shape

    def pack(saved: Tensor) -> Tensor | Recipe:
        return recipe if saved.data_ptr() == pointer and saved.shape == shape else saved

    def unpack(saved: Tensor | Recipe) -> Tensor:
        return saved.make() if isinstance(saved, Recipe) else saved

    return saved_tensors_hooks(pack, unpack)
