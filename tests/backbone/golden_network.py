"""The golden network: SPVNAS with the generated weights, and the first release's projection on its tap."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from golden import fill_state_dict
from torch import Tensor, nn

from clusterseg.backbone import SPVNAS

CLASSIFIER = "classifier.linear.weight"


class GoldenNetwork(nn.Module):
    """Logits and cluster features, with the parameter names of the original."""

    def __init__(self, shared: Path, dropout: float = 0.3) -> None:
        super().__init__()
        names = json.loads((shared / "golden/state_dict_spvnas_cluster.json").read_text())
        state = fill_state_dict(names)
        self.backbone = SPVNAS(shared / "golden/net.config", dropout=dropout)
        self.proj = projection(dict(names))
        state[CLASSIFIER] = state[CLASSIFIER][:, : self.backbone.tap_channels["decoder"]]
        self.proj.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("proj.")})
        self.backbone.load_state_dict({k: v for k, v in state.items() if not k.startswith("proj.")})

    def forward(self, feats: Tensor, coords: Tensor) -> tuple[Tensor, Tensor]:
        out = self.backbone(feats, coords)
        return out.logits, self.proj(out.taps["bottleneck"])

    def named_as_original(self) -> dict[str, nn.Parameter]:
        """The parameters by the names of the original."""
        own = dict(self.backbone.named_parameters())
        return own | {f"proj.{name}": value for name, value in self.proj.named_parameters()}


def projection(shapes: dict[str, list[int]]) -> nn.Sequential:
    """Linear, BatchNorm, ReLU three times, in the widths of the original."""
    layers: list[nn.Module] = []
    for i in (0, 3, 6):
        out_channels, in_channels = shapes[f"proj.{i}.weight"]
        layers += [nn.Linear(in_channels, out_channels), nn.BatchNorm1d(out_channels), nn.ReLU()]
    return nn.Sequential(*layers)


def load_case(shared: Path, case: str) -> dict[str, Tensor]:
    """The arrays of a golden file; every ``coords*`` with the batch index first."""
    with np.load(shared / f"golden/golden_{case}.npz") as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return {k: v[:, [3, 0, 1, 2]] if k.startswith("coords") else v for k, v in tensors.items()}
