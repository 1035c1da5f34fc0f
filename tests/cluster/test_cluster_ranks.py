"""Two and three processes must compute what one computes on the joint batch."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from ranks import start_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from clusterseg.cluster import ClusterHead

STEPS = 5
WORLDS = (3, 2)
CASES = ["same classes", "different classes", "one rank ignored", "one rank empty"]


class Net(nn.Module):
    """A one-layer backbone and the head on it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Linear(6, 10)
        self.head = ClusterHead.default(
            10,
            ["a", "b", "c", "d"],
            clusters_per_class={"default": 5, "b": 2},
            projection=(16, 8),
            anchors_per_class=20,
            bank_size=12,
            bank_push=3,
            ramp_steps=3,
            reseed_after=2,
        )

    def forward(self, x, labels, predictions):
        return sum(self.head(self.backbone(x), labels, predictions).losses.values())


def scans(case: str, world: int, step: int):
    """(inputs, labels, predictions) of each rank."""
    generator = torch.Generator().manual_seed(step)
    parts = []
    for rank in range(world):
        count = 150 + 60 * rank
        labels = torch.randint(0, 4, (count,), generator=generator)
        if case == "different classes":
            labels = torch.where(torch.rand(count, generator=generator) < 0.1, 255, 2 * (rank % 2) + labels % 2)
        if case == "one rank ignored" and rank == world - 1:
            labels = torch.full_like(labels, 255)
        if case == "one rank empty" and rank == step % world:
            labels = labels[:0]
        predictions = torch.randint(0, 4, (len(labels),), generator=generator)
        parts.append((torch.randn(len(labels), 6, generator=generator), labels, predictions))
    return parts


def train(net: nn.Module, batches) -> list[dict]:
    """Loss, gradients and state of each step."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    record = []
    for batch in batches:
        optimizer.zero_grad()
        loss = net(*batch)
        loss.backward()
        plain = net.module if isinstance(net, DistributedDataParallel) else net
        grads = {name: p.grad.clone() for name, p in plain.named_parameters()}
        state = {name: b.clone() for name, b in plain.named_buffers()}
        record.append({"loss": loss.item(), "grads": grads, "state": state})
        optimizer.step()
    return record


def one_rank(rank: int, folder: str) -> None:
    """All cases on one rank; processes are slow to start, so they start once, and the third sits out at last."""
    torch.set_num_threads(1)
    # Buffers are not broadcast: the ranks must agree by themselves. (Newer releases rename the argument.)
    warnings.simplefilter("ignore", FutureWarning)
    for world in WORLDS:
        if rank >= world:
            continue
        dist.init_process_group("gloo", init_method=f"file://{folder}/store{world}", rank=rank, world_size=world)
        record = {}
        for case in CASES:
            net = DistributedDataParallel(Net(), broadcast_buffers=False)
            record[case] = train(net, (scans(case, world, s)[rank] for s in range(STEPS)))
        torch.save(record, f"{folder}/{rank}of{world}.pt")
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each rank's record of all cases, for each number of ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    start_ranks(one_rank, max(WORLDS), str(folder))
    return folder


@pytest.fixture(scope="module", params=WORLDS)
def ranks(request: pytest.FixtureRequest, records: Path) -> list[dict]:
    """Each rank's record of all cases."""
    world = request.param
    return [torch.load(records / f"{rank}of{world}.pt", weights_only=True) for rank in range(world)]


@pytest.mark.parametrize("case", CASES)
def test_ranks_equal_one_process_on_the_joint_batch(case: str, ranks: list[dict]) -> None:
    joint = [tuple(map(torch.cat, zip(*scans(case, len(ranks), s), strict=True))) for s in range(STEPS)]
    alone = train(Net(), joint)
    loss_error = grad_error = 0.0
    for step in range(STEPS):
        for rank in (record[case][step] for record in ranks):
            loss_error = max(loss_error, abs(rank["loss"] - alone[step]["loss"]))
            for name, grad in alone[step]["grads"].items():
                grad_error = max(grad_error, (rank["grads"][name] - grad).abs().max().item())
            for name, value in ranks[0][case][step]["state"].items():
                assert torch.equal(rank["state"][name], value), name
    print(f"{len(ranks)} ranks, {case}: loss off by {loss_error:.1e}, gradients by {grad_error:.1e}")
    assert loss_error <= 1e-6
    assert grad_error <= 1e-5
    assert alone[-1]["loss"] > 0.01
    assert alone[-1]["state"]["head.bank.count"].sum() > 0
    for name, value in alone[-1]["state"].items():
        assert torch.allclose(value.double(), ranks[0][case][-1]["state"][name].double(), atol=1e-5), name
