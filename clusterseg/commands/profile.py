"""Profile the layers of a network: `clusterseg profile model=spvnas scan=FILE.bin`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from omegaconf import DictConfig
from pydantic import Field
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from clusterseg.backbone.cost import count_parameters, layer_macs, scan_size
from clusterseg.backbone.unet import SparseUNet
from clusterseg.build.model import choose_device
from clusterseg.build.prepare import inline_control
from clusterseg.build.task import build_backbone
from clusterseg.config.signatures import require
from clusterseg.data.sample import build_sample
from clusterseg.data.scan import read_scan
from clusterseg.errors import UserError
from clusterseg.sparse import SparseTensor


@dataclass(frozen=True)
class LayerCost:
    """Cost of one layer.

    Attributes:
        name: Its name in the network.
        parameters: Number of trainable parameters.
        macs: Multiply-accumulates on the scan.
        voxels: Rows of the output.
        milliseconds: Median over the runs. The first 3x3x3 convolution of a stride builds that stride's kernel map.
    """

    name: str
    parameters: int
    macs: int
    voxels: int
    milliseconds: float


@dataclass(frozen=True)
class Profile:
    """Cost of a network on a scan.

    Attributes:
        layers: Convolutions and linear layers, in execution order.
        parameters: Number of parameters of the whole network.
        milliseconds: Median of the whole forward pass.
    """

    layers: tuple[LayerCost, ...]
    parameters: int
    milliseconds: float

    @property
    def macs(self) -> int:
        """Sum of the multiply-accumulates of all layers."""
        return sum(layer.macs for layer in self.layers)


def profile(config: DictConfig, run_dir: Path) -> Profile:
    """Run `config.model` on `config.scan` and print a table of its layers.

    Raises:
        UserError: A setting or a file is wrong.
    """
    positive = Annotated[int, Field(ge=1)]
    require(config, repeats=positive, num_classes=positive, voxel_size=Annotated[float, Field(gt=0)])
    device = choose_device(str(config.device))
    inline_control(config)
    feats, coords = read_voxels(Path(str(config.scan)), float(config.voxel_size))
    network = build_backbone(config, feats.shape[1], config.num_classes)
    if not isinstance(network, SparseUNet):
        raise UserError(
            f"model.backbone={type(network).__name__}: only the sparse U-Nets of clusterseg can be profiled"
        )
    result = profile_network(network.to(device), feats.to(device), coords.to(device), config.repeats)
    print_profile(result, f"{type(network).__name__} on {config.scan}: {len(coords):,} voxels, {device}")
    return result


def read_voxels(scan: Path, voxel_size: float) -> tuple[Tensor, Tensor]:
    """Read features (voxels, 4) and coordinates (voxels, 4) of a whole `.bin` file, not augmented."""
    sample = build_sample(read_scan(scan), None, scan.stem, voxel_size=voxel_size)
    coords = np.concatenate([np.zeros((len(sample.coords), 1), np.int32), sample.coords], 1)
    return torch.from_numpy(sample.feats), torch.from_numpy(coords)


@torch.inference_mode()
def profile_network(network: SparseUNet, feats: Tensor, coords: Tensor, repeats: int = 3) -> Profile:
    """Time each layer in `repeats` forward passes after one warm-up pass."""
    network.eval()
    macs = layer_macs(network, scan_size(coords))
    seconds: dict[str, list[float]] = {}
    rows: dict[str, int] = {}
    totals = []
    network(feats, coords)
    for _ in range(repeats):
        with _timed_layers(network, macs, seconds, rows):
            start = _now(feats.device)
            network(feats, coords)
            totals.append(_now(feats.device) - start)
    layers = tuple(
        LayerCost(
            name=name,
            parameters=count_parameters(network.get_submodule(name)),
            macs=macs[name],
            voxels=rows[name],
            milliseconds=1e3 * statistics.median(times),
        )
        for name, times in seconds.items()
    )
    return Profile(layers, count_parameters(network), 1e3 * statistics.median(totals))


@contextmanager
def _timed_layers(
    network: nn.Module, names: dict[str, int], seconds: dict[str, list[float]], rows: dict[str, int]
) -> Iterator[None]:
    """Within the context, layers add their times to `seconds` and the rows of their outputs to `rows`."""
    started: dict[str, float] = {}

    def watch(name: str, layer: nn.Module, stack: ExitStack) -> None:
        def before(module: nn.Module, inputs: Any) -> None:
            feats = inputs[0].feats if isinstance(inputs[0], SparseTensor) else inputs[0]
            started[name] = _now(feats.device)

        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            feats = output.feats if isinstance(output, SparseTensor) else output
            seconds.setdefault(name, []).append(_now(feats.device) - started[name])
            rows[name] = feats.shape[0]

        stack.callback(layer.register_forward_pre_hook(before).remove)
        stack.callback(layer.register_forward_hook(after).remove)

    with ExitStack() as stack:
        for name in names:
            watch(name, network.get_submodule(name), stack)
        yield


def _now(device: torch.device) -> float:
    """Return the time in seconds after the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def print_profile(result: Profile, title: str) -> None:
    """Print a line for each layer, the remaining time outside of layers, and the sums."""
    table = Table("layer")
    for column in ("parameters", "MACs (M)", "voxels", "ms"):
        table.add_column(column, justify="right")
    for layer in result.layers:
        table.add_row(
            layer.name.removesuffix(".conv").removesuffix(".net"),
            f"{layer.parameters:,}",
            f"{layer.macs / 1e6:,.1f}",
            f"{layer.voxels:,}",
            f"{layer.milliseconds:.2f}",
        )
    table.add_section()
    inside = sum(layer.milliseconds for layer in result.layers)
    norms = result.parameters - sum(layer.parameters for layer in result.layers)
    table.add_row("norms, activations, points", f"{norms:,}", "", "", f"{result.milliseconds - inside:.2f}")
    table.add_row(
        "all", f"{result.parameters:,}", f"{result.macs / 1e6:,.1f}", "", f"{result.milliseconds:.2f}", style="bold"
    )
    console = Console()
    console.print(title, highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"{result.parameters / 1e6:.2f} M parameters, {result.macs / 1e9:.1f} G MACs", highlight=False)
