"""Two processes with each option must compute what one computes on the joint batch.

In float64: in float32 an anchor that the projection's ReLU nearly clears turns rounding into gradients off by a tenth.
"""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.distributed as dist
from ranks import start_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from clusterseg.cluster import ClusterHead

STEPS, WORLD = 4, 2
CASES = {
    "improved": {
        "same_class_negatives": 0.0,
        "assignment": "queue",
        "queue_rows": 4,
        "anchors_per_cluster": 3,
        "anchors_from": "cells",
        "update_from": "correct",
    },
    "adaptive, things": {"assignment": "nearest", "merge_above": 0.9, "anchors_from": "things"},
    "oracle": {"assignment": "modes"},
    "placebo": {"assignment": "random", "anchors_from": "cells"},
    "prototypes": {"weight_classifier": 1.0, "weight_distance": 1.0, "weight_point_bank": 0.0},
    "views": {"views": 2},
}


class Net(nn.Module):
    """A one-layer backbone and the head on it."""

    def __init__(self, case: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Linear(6, 10)
        small = {"clusters_per_class": {"default": 5, "b": 3}, "projection": (16, 8), "anchors_per_class": 20}
        more = {"bank_size": 12, "bank_push": 3, "ramp_steps": 0, "reseed_after": 2}
        self.head = ClusterHead.default(10, ["a", "b", "c", "d"], **{**small, **more, **CASES[case]})
        self.double()

    def forward(self, x, labels, predictions, **asked):
        if "other" in self.head.asks:
            asked["other"] = self.backbone(asked["other"])
        asked = {name: asked[name] for name in self.head.asks}
        return sum(self.head(self.backbone(x), labels, predictions, **asked).losses.values())


def scans(step: int) -> list[dict[str, torch.Tensor]]:
    """The inputs of each rank; the scans count through the ranks, as in the joint batch."""
    generator = torch.Generator().manual_seed(step)
    parts = []
    for rank in range(WORLD):
        count = 150 + 60 * rank
        x = torch.randn(count, 6, generator=generator).double()
        parts.append(
            {
                "x": x,
                "labels": torch.randint(0, 4, (count,), generator=generator),
                "predictions": torch.randint(0, 4, (count,), generator=generator),
                "scans": torch.full((count,), rank),
                "xyz": 10 * torch.rand(count, 3, generator=generator),
                "things": torch.randint(0, 9, (count,), generator=generator),
                "modes": torch.randint(-1, 3, (count,), generator=generator),
                "other": x + 0.1 * torch.randn(count, 6, generator=generator),
            }
        )
    return parts


def train(net: nn.Module, batches) -> list[dict]:
    """Loss, gradients and state of each step."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    record = []
    for batch in batches:
        optimizer.zero_grad()
        loss = net(**batch)
        loss.backward()
        plain = net.module if isinstance(net, DistributedDataParallel) else net
        grads = {name: p.grad.clone() for name, p in plain.named_parameters()}
        record.append({"loss": loss.item(), "grads": grads, "state": {n: b.clone() for n, b in plain.named_buffers()}})
        optimizer.step()
    return record


def one_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    warnings.simplefilter("ignore", FutureWarning)
    record = {}
    for case in CASES:
        net = DistributedDataParallel(Net(case), broadcast_buffers=False)
        record[case] = train(net, (scans(s)[rank] for s in range(STEPS)))
    torch.save(record, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Each rank's record of all cases."""
    folder = tmp_path_factory.mktemp("ranks")
    start_ranks(one_rank, WORLD, str(folder))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


@pytest.mark.parametrize("case", CASES)
def test_ranks_equal_one_process_on_the_joint_batch(case: str, ranks: list[dict]) -> None:
    parts = [scans(s) for s in range(STEPS)]
    joint = [{name: torch.cat([part[name] for part in step]) for name in step[0]} for step in parts]
    alone = train(Net(case), joint)
    for step in range(STEPS):
        for rank in (record[case][step] for record in ranks):
            assert rank["loss"] == pytest.approx(alone[step]["loss"], abs=1e-9)
            for name, grad in alone[step]["grads"].items():
                assert (rank["grads"][name] - grad).abs().max() <= 1e-8, name
            for name, value in ranks[0][case][step]["state"].items():
                assert torch.equal(rank["state"][name], value), name
    assert alone[-1]["loss"] > 0.01
    for name, value in alone[-1]["state"].items():
        assert torch.allclose(value.double(), ranks[0][case][-1]["state"][name].double(), atol=1e-8), name
