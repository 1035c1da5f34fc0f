"""The whole network: evaluation and training step, the host's part, the waits, the memory; and layer by layer."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.gpu.numbers import peak_rates
from benchmarks.gpu.setup import Report, Setup, precision
from benchmarks.gpu.waits import waits
from benchmarks.measure import peak_memory_mb, wait
from benchmarks.steps import evaluation, forward_flop, head_of, training_step
from benchmarks.steps import network as build
from benchmarks.tables import percent
from clusterseg.commands.profile import profile_network
from clusterseg.sparse import Conv3d


def network(setup: Setup, report: Report) -> None:
    """Evaluation of one scan and a training step of four, every engine in float32 and half precision."""
    table = report.table(
        f"{setup.control}: evaluation of {len(setup.scan):,} voxels, training step of {len(setup.batch()):,}",
        "what",
        "engine",
        "precision",
        "ms",
        "host ms",
        "of the peak",
        "waits",
        "peak MB",
    )
    rates = peak_rates(setup)
    causes = report.table("Where the host waits", "step", "cause", "times")
    for engine in setup.usable():
        for kind in ("float32", "bfloat16"):
            if kind == "bfloat16" and engine in ("torchsparse", "spconv"):
                continue  # neither offers it
            for what, call, flop in _calls(setup, engine):
                if setup.rehearse and kind == "bfloat16" and what != "evaluation":
                    continue  # slow on a CPU
                with report.guard(f"{what}, {engine}, {kind}"):
                    seconds, host, peak = _measure(call, kind, setup)
                    with precision(kind, setup.device):
                        counted = waits(call, setup.device)
                        finite = bool(call().isfinite().all())
                    share = percent(flop / seconds / rates[kind])
                    table.add(what, engine, kind, 1e3 * seconds, 1e3 * host, share, counted.total, peak)
                    if kind == "float32":
                        for cause, times in counted.by_cause.most_common(8):
                            causes.add(f"{what}, {engine}", cause, times)
                    report.check(f"{what}, {engine}, {kind} is finite", finite)


def _calls(setup: Setup, engine: str) -> list[tuple[str, Callable[[], torch.Tensor], float]]:
    """Name, call and useful operations of each step."""
    scan, batch = setup.scan.to(setup.device), setup.batch().to(setup.device)
    model = build(setup.control, engine).to(setup.device)
    head = head_of(model).to(setup.device)
    forward, step = forward_flop(model, scan), 3 * forward_flop(model, batch)
    return [
        ("evaluation", evaluation(model, scan), forward),
        ("training step", training_step(model, batch), step),
        ("training step with the head", training_step(model, batch, head), step),
    ]


def _measure(call: Callable[[], object], kind: str, setup: Setup) -> tuple[float, float, float]:
    """Seconds of a call, seconds until the host is free again, and the peak memory in MB."""
    device = setup.device

    def once() -> tuple[float, float]:
        with precision(kind, device):
            wait(device)
            start = time.perf_counter()
            call()
            host = time.perf_counter() - start
            wait(device)
        return time.perf_counter() - start, host

    for _ in range(1 if setup.rehearse else 3):
        once()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    rounds = [once() for _ in range(setup.rounds)]
    peak = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else peak_memory_mb()
    return median(a for a, _ in rounds), median(b for _, b in rounds), peak


def layers(setup: Setup, report: Report) -> None:
    """The time of each layer shape in evaluation, as a share of the peak: where the kernels are weak."""
    rates = peak_rates(setup)
    scan = setup.scan.to(setup.device)
    for engine in (name for name in setup.usable() if name in ("native", "triton")):
        for kind in ("float32", "bfloat16")[: 1 if setup.rehearse else 2]:
            with report.guard(f"{engine}, {kind}"):
                model = build(setup.control, engine).to(setup.device)
                with precision(kind, setup.device):
                    result = profile_network(model, scan.feats, scan.coords, repeats=min(setup.rounds, 5))
                shapes: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
                for layer in result.layers:
                    module = model.get_submodule(layer.name)
                    row = shapes[f"{_shape(module)}, {layer.voxels:,} rows"]
                    row[0], row[1], row[2] = row[0] + 1, row[1] + layer.milliseconds, row[2] + 2.0 * layer.macs
                title = f"Layers of {setup.control} by shape: {engine}, {kind}, {result.milliseconds:.1f} ms in all"
                table = report.table(title, "shape", "layers", "ms", "GFLOP", "of the peak")
                for shape, (count, ms, flop) in sorted(shapes.items(), key=lambda item: -item[1][1]):
                    table.add(shape, int(count), ms, flop / 1e9, percent(flop / (1e-3 * ms) / rates[kind]))


def _shape(module: torch.nn.Module) -> str:
    if isinstance(module, Conv3d):
        kind = (
            "up" if module.transposed else "down" if module.stride == 2 else "3x3x3" if module.kernel_size == 3 else "1"
        )
        return f"{kind} {module.in_channels} to {module.out_channels}"
    return f"linear {module.in_features} to {module.out_features}"  # type: ignore[union-attr]
