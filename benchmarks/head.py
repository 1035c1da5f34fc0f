"""A step of the cluster head: forward, backward and update.

The floor: the matrix products against the bank (logits, and the gradient to the anchors) at the speed of plain ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.measure import in_child, interleave, peak_memory_mb
from benchmarks.options import Options
from benchmarks.tables import Table, percent
from clusterseg.cluster.head import ClusterHead
from clusterseg.cluster.sampling import sample_anchors
from clusterseg.cluster.sinkhorn import balanced_assignment
from clusterseg.gradients import accept_row_gradients

CLASSES, CLUSTERS, SIZE, DIM = 19, 40, 50, 64
NAMES = [f"class {i}" for i in range(CLASSES)]
SETTINGS: dict[str, tuple[int, int, dict[str, Any]]] = {
    "release: 100 anchors, embeddings ready": (320_000, DIM, {"anchors_total": 100, "anchors_per_class": 100}),
    "2,000 anchors, embeddings ready": (320_000, DIM, {"anchors_total": 2000, "anchors_per_class": 106}),
    "default: 128 per class, 232 channels projected": (160_000, 232, {"projection": (256, 128, DIM)}),
}


def run(options: Options) -> list[Table]:
    steps = {name: whole_step(name, options.quick) for name in SETTINGS}
    times = interleave({**steps, **parts(options.quick)}, options.rounds_of(2), quick=options.quick)
    table = Table(
        "A step of the cluster head",
        ["step", "voxels", "anchors", "median ms", "best ms", "of the floor", "peak MB"],
        notes=[times.note(), "Centres seeded, bank full."],
    )
    for name, step in steps.items():
        anchors, flop = step(), 2.0 * 2 * step() * CLASSES * CLUSTERS * SIZE * DIM
        memory = in_child(peak, name, options.quick, threads=options.threads)
        speed = 1e3 * times.median(name), 1e3 * times.best(name), percent(times.share(name, flop))
        table.add(name, voxels_of(name, options.quick), anchors, *speed, memory)
    for name in parts(options.quick):
        table.add(name, None, None, 1e3 * times.median(name), 1e3 * times.best(name), None, None)
    return [table]


def full_head(width: int, settings: dict[str, Any]) -> ClusterHead:
    """A head whose centres are all seeded and whose bank is full."""
    head = ClusterHead.default(width, NAMES, **{"projection": (), "ramp_steps": 0, **settings})
    head.centers.vectors.copy_(F.normalize(torch.randn(CLASSES, CLUSTERS, DIM).relu(), dim=-1))
    head.centers.seeded.fill_(True)
    head.bank.vectors.copy_(F.normalize(torch.randn(CLASSES * CLUSTERS, SIZE, DIM).relu(), dim=-1))
    head.bank.count.fill_(SIZE)
    return head


def voxels_of(name: str, quick: bool) -> int:
    return 5_000 if quick else SETTINGS[name][0]


def whole_step(name: str, quick: bool) -> Callable[[], int]:
    """A step; returns the number of its anchors."""
    torch.manual_seed(0)
    _, width, settings = SETTINGS[name]
    voxels, head = voxels_of(name, quick), full_head(width, settings)
    features = accept_row_gradients(torch.randn(voxels, width).relu_().requires_grad_())  # as a backbone's are
    labels = torch.randint(0, CLASSES, (voxels,))
    predictions = torch.where(torch.rand(voxels) < 0.3, torch.randint(0, CLASSES, (voxels,)), labels)

    def step() -> int:
        output = head(features, labels, predictions)
        torch.autograd.grad(torch.stack(list(output.losses.values())).sum(), [features, *head.parameters()])
        return int(output.stats["anchors"])

    return step


def parts(quick: bool) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    voxels = 5_000 if quick else 320_000
    labels, predictions = (torch.randint(0, CLASSES, (voxels,)) for _ in range(2))
    scores = torch.rand(CLASSES, 128, CLUSTERS)
    anchors, clusters = torch.ones(CLASSES, 128, dtype=torch.bool), torch.ones(CLASSES, CLUSTERS, dtype=torch.bool)
    step = torch.tensor(0)
    return {
        f"sampling of 19 x 128 anchors out of {voxels:,}": lambda: sample_anchors(
            labels, predictions, CLASSES, 128, None, 0, step
        ),
        "assignment of 19 x 128 anchors to 40 clusters": lambda: balanced_assignment(scores, anchors, clusters),
    }


def peak(name: str, quick: bool) -> float:
    step = whole_step(name, quick)
    for _ in range(3):
        step()
    return peak_memory_mb()
