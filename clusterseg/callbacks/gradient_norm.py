"""Log the norms of the gradients."""

from __future__ import annotations

from collections.abc import Iterable

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from clusterseg.task import SegmentationTask
from clusterseg.task.logged import is_logged


class GradientNorm(Callback):
    """Logs `train/grad_norm` of all trained parameters and `cluster/grad_norm` of the head's.

    It is the L2 norm of the gradient of an optimiser step: accumulated, averaged over ranks and unscaled, before
    clipping. It is computed in logged steps only.
    """

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Log the norms if the step is logged."""
        if not is_logged(trainer):
            return
        assert isinstance(pl_module, SegmentationTask)
        norms = {"train/grad_norm": gradient_norm(pl_module.parameters())}
        if pl_module.cluster is not None:
            norms["cluster/grad_norm"] = gradient_norm(pl_module.cluster.parameters())
        pl_module.log_dict(norms, batch_size=1)


@torch.no_grad()
def gradient_norm(parameters: Iterable[nn.Parameter]) -> Float[Tensor, ""]:
    """Joint L2 norm of the gradients; parameters without one are skipped. NaN if any gradient is NaN."""
    return get_total_norm([p.grad for p in parameters if p.grad is not None]).float()
