"""The networks and the steps that are measured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from benchmarks.scans import CLASS_NAMES, Voxels
from clusterseg.backbone import SPVNAS
from clusterseg.backbone.cost import count_macs, scan_size
from clusterseg.cluster import ClusterHead
from clusterseg.files import CONF
from clusterseg.gradients import accept_row_gradients
from clusterseg.losses import CrossEntropy, LovaszSoftmax

LARGE, SMALL = "spvnas_10.8M", "spvnas_small"


def network(control: str, backend: str = "auto") -> SPVNAS:
    torch.manual_seed(0)
    return SPVNAS(CONF / "control" / f"{control}.json", backend=backend)


def forward_flop(model: SPVNAS, voxels: Voxels) -> float:
    """Useful floating-point operations of a forward pass; a training step has three times as many."""
    return 2.0 * count_macs(model, scan_size(voxels.coords.cpu()))


def autocast(voxels: Voxels, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Autocast to a type; None leaves what the caller has set."""
    return nullcontext() if dtype is None else torch.autocast(voxels.feats.device.type, dtype)


def evaluation(model: SPVNAS, voxels: Voxels, dtype: torch.dtype | None = None) -> Callable[[], torch.Tensor]:
    """The forward pass of evaluation, under autocast if a type is given."""

    @torch.inference_mode()
    def call() -> torch.Tensor:
        model.eval()
        with autocast(voxels, dtype):
            return model(voxels.feats, voxels.coords).logits

    return call


def head_of(model: SPVNAS) -> ClusterHead:
    return ClusterHead.default(model.tap_channels["bottleneck"], CLASS_NAMES, ramp_steps=0)


def training_step(
    model: SPVNAS, voxels: Voxels, head: ClusterHead | None = None, dtype: torch.dtype | None = None
) -> Callable[[], torch.Tensor]:
    """Forward pass, losses (cross-entropy, Lovász, those of the head) and backward pass; returns the loss."""
    losses = (CrossEntropy(), LovaszSoftmax())

    def call() -> torch.Tensor:
        model.train()
        model.zero_grad()
        with autocast(voxels, dtype):
            output = model(voxels.feats, voxels.coords)
            terms = [loss(output.logits, voxels.labels) for loss in losses]
            if head is not None:
                guesses = output.logits.detach().argmax(1)
                terms += head(output.taps["bottleneck"], voxels.labels, guesses).losses.values()
        total = torch.stack([term.float() for term in terms]).sum()
        total.backward()
        return total.detach()

    return call


def head_step(head: ClusterHead, voxels: Voxels) -> Callable[[], torch.Tensor]:
    """What a head adds to a training step: its losses and their gradients, on features that are made up."""
    features = torch.randn(len(voxels.labels), head.proj[0].in_features, requires_grad=True)
    asked = [accept_row_gradients(features), *head.parameters()]  # gradients as a network gets them

    def call() -> torch.Tensor:
        head.train()
        total = torch.stack(list(head(asked[0], voxels.labels, voxels.labels).losses.values())).sum()
        torch.autograd.grad(total, asked, allow_unused=True)
        return total.detach()

    return call
