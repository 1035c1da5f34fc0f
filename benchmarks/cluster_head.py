"""What a step of the clustering head costs: `python benchmarks/cluster_head.py [--threads 2] [--repeats 15]`.

Forward, backward and update, best of the repeats, beside the floor that the same machine sets in the same run: the
matrix products against the bank (logits, and the gradient to the anchors) at the speed of a plain product of
2,048 x 2,048 float32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from clusterseg.cluster.head import ClusterHead
from clusterseg.cluster.sampling import sample_anchors
from clusterseg.cluster.sinkhorn import balanced_assignment
from clusterseg.gradients import accept_row_gradients

CLASSES, CLUSTERS, SIZE, DIM = 19, 40, 50, 64
NAMES = [f"class {i}" for i in range(CLASSES)]
SETTINGS = {
    "release: 100 anchors, embeddings ready": (320_000, DIM, {"anchors_total": 100, "anchors_per_class": 100}),
    "2,000 anchors, embeddings ready": (320_000, DIM, {"anchors_total": 2000, "anchors_per_class": 106}),
    "default: 128 per class, 232 channels projected": (160_000, 232, {"projection": (256, 128, DIM)}),
}


def best(call: Callable[[], object], repeats: int) -> float:
    """Shortest of the repeats in seconds, after one warm-up call."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def full_head(width: int, settings: dict) -> ClusterHead:
    """A head whose centres are all seeded and whose bank is full."""
    head = ClusterHead.default(width, NAMES, **{"projection": (), "ramp_steps": 0, **settings})
    head.centers.vectors.copy_(F.normalize(torch.randn(CLASSES, CLUSTERS, DIM).relu(), dim=-1))
    head.centers.seeded.fill_(True)
    head.bank.vectors.copy_(F.normalize(torch.randn(CLASSES * CLUSTERS, SIZE, DIM).relu(), dim=-1))
    head.bank.count.fill_(SIZE)
    return head


def floor(anchors: int, product_rate: float) -> float:
    return 2 * 2 * anchors * CLASSES * CLUSTERS * SIZE * DIM / product_rate


def whole_step(voxels: int, width: int, settings: dict, repeats: int) -> tuple[float, int]:
    head = full_head(width, settings)
    features = accept_row_gradients(torch.randn(voxels, width).relu_().requires_grad_())  # as a backbone's are
    labels = torch.randint(0, CLASSES, (voxels,))
    predictions = torch.where(torch.rand(voxels) < 0.3, torch.randint(0, CLASSES, (voxels,)), labels)

    def step() -> int:
        output = head(features, labels, predictions)
        torch.autograd.grad(torch.stack(list(output.losses.values())).sum(), [features, *head.parameters()])
        return int(output.stats["anchors"])

    return best(step, repeats), step()


def parts(repeats: int) -> dict[str, float]:
    labels = torch.randint(0, CLASSES, (320_000,))
    predictions = torch.randint(0, CLASSES, (320_000,))
    scores = torch.rand(CLASSES, 128, CLUSTERS)
    anchors, clusters = torch.ones(CLASSES, 128, dtype=torch.bool), torch.ones(CLASSES, CLUSTERS, dtype=torch.bool)
    step = torch.tensor(0)
    return {
        "sampling of 19 x 128 anchors out of 320,000": best(
            lambda: sample_anchors(labels, predictions, CLASSES, 128, None, 0, step), repeats
        ),
        "assignment of 19 x 128 anchors to 40 clusters": best(
            lambda: balanced_assignment(scores, anchors, clusters), repeats
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    square = torch.randn(2048, 2048)
    product_rate = 2 * 2048**3 / best(lambda: square @ square, args.repeats)
    print(f"{args.threads} threads, product {product_rate / 1e9:.0f} GFLOP/s\n")
    print(f"{'step (forward + backward + update)':50} {'voxels':>8} {'anchors':>8} {'ms':>8} {'floor':>8} {'share':>6}")
    for name, (voxels, width, settings) in SETTINGS.items():
        seconds, anchors = whole_step(voxels, width, settings, args.repeats)
        least = floor(anchors, product_rate)
        print(
            f"{name:50} {voxels:8,} {anchors:8,} {1e3 * seconds:8.1f} {1e3 * least:8.1f} {least / seconds:6.0%}",
            flush=True,
        )
    print()
    for name, seconds in parts(args.repeats).items():
        print(f"{name:50} {1e3 * seconds:26.1f} ms")


if __name__ == "__main__":
    main()
