"""The engine: a 3x3x3 convolution on the voxels of a scan, and the building of its kernel maps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.measure import CPU, interleave, without_bfloat16
from benchmarks.options import Options
from benchmarks.scans import Voxels, scan
from benchmarks.tables import Table, percent
from clusterseg.compiled import is_built
from clusterseg.sparse import Grid, Workspace, sparse_tensor
from clusterseg.sparse.backends import get_backend
from clusterseg.sparse.kernel_map import KernelMap

CHANNELS = (32, 96, 232)
STRIDES = (1, 2, 4, 8, 16)


def run(options: Options) -> list[Table]:
    voxels = scan(options.data, options.quick)
    return [_convolutions(options, voxels), _maps(options, voxels)]


class Case:
    """One engine, precision and width on one kernel map; the feature and weight values are the same for all."""

    def __init__(self, engine: str, dtype: torch.dtype, channels: int, kernel_map: KernelMap) -> None:
        self.engine, self.map, self.workspace = get_backend(engine), kernel_map, Workspace()
        device = kernel_map.in_rows.device
        generator = torch.Generator().manual_seed(0)
        shape = (len(kernel_map.counts), channels, channels)
        self.feats = torch.randn(kernel_map.num_in, channels, generator=generator).to(device, dtype).requires_grad_()
        self.weight = torch.randn(shape, generator=generator).div(channels).to(device, dtype).requires_grad_()
        self.grad = torch.randn(kernel_map.num_out, channels, generator=generator).to(device, dtype)

    def forward(self) -> Tensor:
        return self.engine.convolve(self.feats, self.weight, self.map, self.workspace)

    def step(self) -> tuple[Tensor, ...]:
        output = self.forward()
        return output.detach(), *torch.autograd.grad(output, (self.feats, self.weight), self.grad)

    def forward_only(self) -> Tensor:
        with torch.no_grad():
            return self.forward()


def finest_map(voxels: Voxels, backend: str = "native") -> KernelMap:
    return sparse_tensor(voxels.feats, voxels.coords, backend)[0].grid.submanifold(1)


def pairs_of(kernel_map: KernelMap) -> int:
    """All pairs, the implied ones of a voxel with itself among them."""
    return sum(kernel_map.counts) + (kernel_map.num_out if kernel_map.center is not None else 0)


def error(got: tuple[Tensor, ...], want: tuple[Tensor, ...]) -> float:
    """Largest difference over outputs and gradients, each relative to its largest value."""
    return max(float((a.float() - b).abs().max() / b.abs().max()) for a, b in zip(got, want, strict=True))


def _convolutions(options: Options, voxels: Voxels) -> Table:
    kernel_map = finest_map(voxels)
    pairs, cases, missing = pairs_of(kernel_map), {}, without_bfloat16()
    kinds = [("native", torch.float32)]
    kinds += [("compiled", torch.float32)] * is_built() + [("native", torch.bfloat16)] * (missing is None)
    for channels in CHANNELS:
        for engine, dtype in kinds:
            cases[channels, engine, dtype] = Case(engine, dtype, channels, kernel_map)
    calls: dict[str, Callable[[], object]] = {}
    for key, case in cases.items():
        calls |= {f"{key} forward": case.forward_only, f"{key} step": case.step}
    times = interleave(calls, options.rounds_of(), quick=options.quick)
    table = Table(
        f"A 3x3x3 convolution on {voxels.name} ({len(voxels):,} voxels, {pairs / len(voxels):.2f} pairs a voxel)",
        ["channels, engine, type", "forward ms", "step ms", "forward of the float32 floor", "step of it", "error"],
        notes=[
            times.note(),
            "Kernel maps are built before. Error: against native in float32, output and both gradients.",
        ],
    )
    table.notes += [] if missing is None else [missing]
    for key, case in cases.items():
        channels, engine, dtype = key
        name, flop = str(key), 2.0 * pairs * channels**2
        table.add(
            f"{channels}, {engine}, {str(dtype)[6:]}",
            1e3 * times.median(f"{name} forward"),
            1e3 * times.median(f"{name} step"),
            percent(times.share(f"{name} forward", flop)),
            percent(times.share(f"{name} step", 3 * flop)),
            f"{error(case.step(), cases[channels, 'native', torch.float32].step()):.1e}",
        )
    return table


def _maps(options: Options, voxels: Voxels) -> Table:
    table = Table("Kernel maps of that scan", ["what", "median ms", "best ms"])
    calls = map_builders(voxels)
    times = interleave(calls, options.rounds_of(), quick=options.quick)
    for name in calls:
        table.add(name, 1e3 * times.median(name), 1e3 * times.best(name))
    return table


def map_builders(voxels: Voxels, device: torch.device = CPU) -> dict[str, Callable[[], object]]:
    """What a forward pass builds before it can multiply."""
    voxels = voxels.to(device)

    def grid(engine: str = "auto") -> Grid:
        return sparse_tensor(voxels.feats, voxels.coords, engine)[0].grid

    def all_maps(engine: str = "auto") -> None:
        found = grid(engine)
        for stride in STRIDES:
            found.submanifold(stride)
        for stride in STRIDES[:-1]:
            found.down(stride)

    return {
        "keys and their order": grid,
        "and the map of the finest level": lambda: grid().submanifold(1),
        "and the maps of all five levels": all_maps,
        "the same by the native engine": lambda: all_maps("native"),
    }
