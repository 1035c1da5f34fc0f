"""What a network costs on a scan: `python benchmarks/network.py [--scan FILE.bin] [--threads 2] [--repeats 9]`.

Evaluation forward, training step, and training step with the cluster head, interleaved in one process, best and median
of the repeats, beside the floor that the same machine sets in the same run: the useful multiply-adds (three times as
many for a training step) at the speed of a plain product of 2,048 x 2,048 float32. Without --scan: a synthetic street.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from clusterseg.backbone import SPVNAS
from clusterseg.backbone.cost import count_macs, count_parameters, scan_size
from clusterseg.cluster import ClusterHead
from clusterseg.data.label_map import load_label_map
from clusterseg.data.scan import read_labels, read_scan
from clusterseg.data.voxelize import voxelize
from clusterseg.losses import CrossEntropy, LovaszSoftmax
from clusterseg.synthetic.lidar import Lidar
from clusterseg.synthetic.measure import take_scan
from clusterseg.synthetic.town import build_town

CLASS_NAMES = load_label_map("semantickitti").class_names
CONTROL = Path(__file__).parents[1] / "conf" / "control"


def load(scan: Path | None, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, coordinates and labels of a batch of copies of a scan; a file's labels lie where SemanticKITTI's do."""
    if scan is None:
        street = take_scan(build_town(1, 0, 1.0), Lidar(64, 2000, 80.0, 0.01), 0.0, np.random.default_rng(0))
        points, raw = street.points, street.labels
    else:
        points = read_scan(scan)
        raw = read_labels(scan.parents[1] / "labels" / f"{scan.stem}.label", len(points))
    voxels = voxelize(points, 0.05)
    feats = torch.from_numpy(points[voxels.first_point])
    coords = torch.from_numpy(voxels.coords)
    labels = torch.from_numpy(load_label_map("semantickitti").to_train(raw[voxels.first_point]))
    index = torch.arange(batch).repeat_interleave(len(coords))[:, None].int()
    return feats.repeat(batch, 1), torch.cat([index, coords.repeat(batch, 1)], 1), labels.repeat(batch)


def product_rate() -> float:
    """FLOP/s of a plain matrix product."""
    a = torch.randn(2048, 2048)
    return 2 * 2048**3 / min(timed(lambda: a @ a) for _ in range(9))


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--control", default="spvnas_10.8M")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    feats, coords, labels = load(args.scan, args.batch)
    network = SPVNAS(CONTROL / f"{args.control}.json")
    head = ClusterHead.default(
        network.tap_channels["bottleneck"], load_label_map("semantickitti").class_names, ramp_steps=0
    )
    losses = (CrossEntropy(), LovaszSoftmax())

    def forward() -> None:
        network.eval()
        with torch.inference_mode():
            network(feats, coords)

    def step(with_head: bool) -> None:
        network.train()
        network.zero_grad()
        output = network(feats, coords)
        total = torch.stack([loss(output.logits, labels) for loss in losses]).sum()
        if with_head:
            total = total + sum(head(output.taps["bottleneck"], labels, output.logits.argmax(1)).losses.values())
        total.backward()

    runs = {
        "evaluation forward": (forward, 1),
        "training step": (lambda: step(False), 3),
        "training step with head": (lambda: step(True), 3),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    rates = []
    for repeat in range(args.repeats + 1):
        rates.append(product_rate())
        for name, (run, _) in runs.items():
            seconds = timed(run)
            if repeat:  # the first round warms up
                times[name].append(seconds)
    flop = 2 * count_macs(network, scan_size(coords))
    console = Console()
    console.print(
        f"{args.control}: {count_parameters(network):,} parameters, {len(coords):,} voxels, "
        f"{flop / 1e9:.1f} GFLOP forward; {args.threads} threads, plain product {max(rates) / 1e9:.0f} GFLOP/s, "
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
    )
    table = Table("", "best s", "median s", "floor s", "floor / best")
    for name, (_, factor) in runs.items():
        floor = factor * flop / max(rates)
        best, median = min(times[name]), float(np.median(times[name]))
        table.add_row(name, f"{best:.3f}", f"{median:.3f}", f"{floor:.3f}", f"{floor / best:.0%}")
    console.print(table)
    ratio = np.array(times["training step with head"]) / np.array(times["training step"])
    console.print(
        f"head / no head, pair by pair: median {np.median(ratio):.3f}, from {ratio.min():.3f} to {ratio.max():.3f}"
    )


if __name__ == "__main__":
    main()
