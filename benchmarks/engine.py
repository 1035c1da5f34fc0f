"""Engines side by side: `python benchmarks/engine.py SCAN.bin [--device cuda] [--engines native triton] ...`.

A 3x3x3 convolution on the voxels of a scan: milliseconds of the forward pass and of forward and backward, best of the
repeats, the speed on useful operations (pairs x inputs x outputs) as a share of a plain product of 4,096 x 4,096, and
the largest difference from the native engine in float32, relative to its largest value. Kernel maps are built before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from clusterseg.commands.profile import choose_device, read_voxels
from clusterseg.errors import UserError
from clusterseg.sparse import Workspace, sparse_tensor
from clusterseg.sparse.backends import BACKENDS, get_backend
from clusterseg.sparse.kernel_map import KernelMap


def best(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Shortest of the repeats in seconds, after two warm-up calls."""
    times = []
    for i in range(repeats + 2):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if i > 1:
            times.append(time.perf_counter() - start)
    return min(times)


def plain_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Multiply-accumulates a second of a plain matrix product."""
    side = 4096 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return side**3 / best(lambda: a @ b, 5, device)


class Case:
    """One engine, precision and width on one kernel map."""

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


def error(got: tuple[Tensor, ...], want: tuple[Tensor, ...]) -> float:
    return max(float((a.float() - b).abs().max() / b.abs().max()) for a, b in zip(got, want, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--engines", nargs="+", default=["native"], choices=list(BACKENDS))
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--channels", nargs="+", type=int, default=[32, 96, 232])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    try:
        device = choose_device(options.device)
        feats, coords = read_voxels(options.scan, 0.05)
        kernel_map = sparse_tensor(feats.to(device), coords.to(device))[0].grid.submanifold(1)
        pairs = sum(kernel_map.counts) + kernel_map.num_out
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
        print(f"{kernel_map.num_out:,} voxels, {pairs / kernel_map.num_out:.2f} pairs a voxel, {name}")
        print(f"{'engine':12}{'dtype':10}{'channels':>9}{'forward ms':>12}{'step ms':>10}{'of plain':>10}{'error':>10}")
        for dtype in (getattr(torch, name) for name in options.dtypes):
            rate = plain_rate(dtype, device)
            for channels in options.channels:
                want = Case("native", torch.float32, channels, kernel_map).step()
                for engine in options.engines:
                    case = Case(engine, dtype, channels, kernel_map)
                    forward = best(case.forward_only, options.repeats, device)
                    step = best(case.step, options.repeats, device)
                    share = 3 * pairs * channels**2 / step / rate
                    line = f"{engine:12}{str(dtype)[6:]:10}{channels:9}{1e3 * forward:12.2f}{1e3 * step:10.2f}"
                    print(f"{line}{share:10.0%}{error(case.step(), want):10.1e}", flush=True)
    except UserError as mistake:
        raise SystemExit(f"error: {mistake}") from None


if __name__ == "__main__":
    main()
