"""The engines side by side, and the building of kernel maps."""

from __future__ import annotations

import torch

from benchmarks.engine import Case, error, finest_map, map_builders, pairs_of
from benchmarks.gpu.numbers import DTYPES, peak_rates
from benchmarks.gpu.setup import Report, Setup
from benchmarks.gpu.waits import waits
from benchmarks.measure import timed
from benchmarks.tables import percent

CHANNELS = (32, 96, 232)
#: Largest relative difference of outputs and gradients from the native engine in float32.
BOUNDS = {"float32": 1e-4, "tf32": 5e-3, "bfloat16": 3e-2, "float16": 5e-3}


def engines(setup: Setup, report: Report) -> None:
    """A 3x3x3 convolution and its 2x2x2 neighbours: forward pass, both gradients, every engine and precision."""
    table = report.table(
        "A 3x3x3 convolution, submanifold",
        "voxels, channels",
        "precision",
        "engine",
        "forward ms",
        "step ms",
        "forward of the peak",
        "step of the peak",
        "error",
    )
    rates = peak_rates(setup)
    for name, reason in setup.engines().items():
        if reason is not None:
            report.note(f"Engine {name} is left out: {reason}.")
    for voxels in setup.clouds():
        kernel_map = finest_map(voxels.to(setup.device))
        flop_of = 2.0 * pairs_of(kernel_map)
        for channels in CHANNELS[: 1 if setup.rehearse else None]:
            want = Case("native", torch.float32, channels, kernel_map).step()
            for kind in setup.precisions():
                torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
                for engine in setup.usable():
                    if engine != "native" and engine != "triton" and kind == "bfloat16":
                        continue  # neither offers it
                    what = f"{len(voxels):,} x {channels}, {kind}, {engine}"
                    with report.guard(what):
                        case = Case(engine, DTYPES[kind], channels, kernel_map)
                        wrong = error(case.step(), want)
                        forward, step = _best(case.forward_only, setup), _best(case.step, setup)
                        flop = flop_of * channels**2
                        table.add(
                            f"{len(voxels):,} x {channels}",
                            kind,
                            engine,
                            1e3 * forward,
                            1e3 * step,
                            percent(flop / forward / rates[kind]),
                            percent(3 * flop / step / rates[kind]),
                            f"{wrong:.1e}",
                        )
                        report.check(what, wrong <= BOUNDS[kind], f"error {wrong:.1e}, bound {BOUNDS[kind]:g}")
    torch.backends.cuda.matmul.allow_tf32 = False
    _other_kinds(setup, report)


def _best(call, setup: Setup) -> float:  # type: ignore[no-untyped-def]
    call()
    return min(timed(call, setup.device) for _ in range(setup.rounds))


def _other_kinds(setup: Setup, report: Report) -> None:
    """Down and up, for their results alone."""
    from clusterseg.sparse import sparse_tensor

    voxels = setup.clouds()[0].to(setup.device)
    down = sparse_tensor(voxels.feats, voxels.coords)[0].grid.down(1)
    for kind, kernel_map in (("down", down), ("up", down.transposed)):
        want = Case("native", torch.float32, 24, kernel_map).step()
        for engine in setup.usable()[1:]:
            with report.guard(f"{kind}, {engine}"):
                wrong = error(Case(engine, torch.float32, 24, kernel_map).step(), want)
                report.check(f"{kind}, float32, {engine}", wrong <= BOUNDS["float32"], f"error {wrong:.1e}")


def maps(setup: Setup, report: Report) -> None:
    """The kernel maps of the scan: time, and how often the host waits for the device."""
    table = report.table(f"Kernel maps of {len(setup.scan):,} voxels", "what", "ms", "waits of the host")
    for name, call in map_builders(setup.scan, setup.device).items():
        with report.guard(name):
            seconds = _best(call, setup)
            table.add(name, 1e3 * seconds, waits(call, setup.device).total)
