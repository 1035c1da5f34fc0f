"""Training on two gloo ranks, network, head and losses together, against one process with the joint batch."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hydra.utils import instantiate
from ranks import start_ranks
from tiny import write_control
from tiny_run import configure
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from clusterseg.build.task import build_task, sync_batch_norm
from clusterseg.data.batch import Batch, collate
from clusterseg.task import SegmentationTask

STEPS = 20


class Step(nn.Module):
    """The loss of a batch, as DistributedDataParallel wants it: in forward."""

    def __init__(self, task: SegmentationTask) -> None:
        super().__init__()
        self.task = task

    def forward(self, batch: Batch) -> Tensor:
        output = self.task(batch)
        terms, _ = self.task.loss_terms(output, batch.targets, output.logits.detach().argmax(1))
        return torch.stack([term.double() for term in terms.values()]).sum()


def loss_curve(folder: Path, rank: int = 0, world: int = 1) -> tuple[list[float], dict[str, Tensor]]:
    """Losses of some steps on streets, and the state afterwards; each rank has one scan of two.

    In float64: in float32 an untrained network turns one unit of rounding in the weights into 1e-3 within 20 steps.
    """
    torch.set_num_threads(1)
    config = configure(
        "train",
        "data=streets",
        f"data.root={folder / 'streets'}",
        "data.recipe={scans: 4, azimuths: 120, beams: 16, sequences: [0]}",
        "data.sequences={train: [0], val: [0]}",
        "model=spvnas_cluster",
        f"model.backbone.control={write_control(folder / f'{rank}.config')}",
        "model.backbone.dropout=0",
        "model.cluster={clusters_per_class: 8, anchors_per_class: 24, bank_size: 10, ramp_steps: 0}",
        "loss.lovasz.joint=true",
        "trainer.sync_batchnorm=true",
    )
    data = instantiate(config.data, _convert_="all")
    torch.manual_seed(0)
    task = build_task(config, data.inputs).double()
    sync_batch_norm(task, config.trainer.sync_batchnorm)
    task._ddp_params_and_buffers_to_ignore = []
    step = Step(task)
    net = DistributedDataParallel(step, broadcast_buffers=False) if world > 1 else step
    optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
    dataset, losses = data.dataset("fit"), []
    for i in range(STEPS):
        scans = [(i // 2, 2 * (i % 2)), (i // 2, 2 * (i % 2) + 1)]
        loss = net(collate([dataset[key] for key in scans[rank::world]]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {key: value.clone() for key, value in task.state_dict().items()}


def one_rank(rank: int, folder: str) -> None:
    warnings.simplefilter("ignore", FutureWarning)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(loss_curve(Path(folder), rank, 2), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_train_as_one_process_on_the_joint_batch(tmp_path: Path) -> None:
    alone, state = loss_curve(tmp_path)
    start_ranks(one_rank, 2, str(tmp_path))
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    curve = [sum(pair) / 2 for pair in zip(*(losses for losses, _ in ranks), strict=True)]
    print("largest difference", max(abs(a - b) for a, b in zip(curve, alone, strict=True)))
    assert curve == pytest.approx(alone, abs=1e-8)
    assert alone[-1] < alone[0]
    for key, value in state.items():
        assert torch.equal(ranks[0][1][key], ranks[1][1][key]), key
        torch.testing.assert_close(ranks[0][1][key], value, rtol=1e-6, atol=1e-8, msg=key)
