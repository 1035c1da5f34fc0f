"""Networks of other projects through `init_from`: the logits that their own code computes with the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import fill_state_dict
from torch import Tensor

from clusterseg.backbone import SPVCNN, Backbone, MinkUNet
from clusterseg.backbone.pretrained import LoadReport, load_pretrained

#: Of the largest logit: what two correct engines may differ by.
TOLERANCE = 3e-6
#: Of the largest logit: what rounding of the point coordinates moves, see the README of the golden data.
ROUNDING = 3e-5

#: Width, depth and what the classifier reads.
NETWORKS: dict[str, dict[str, Any]] = {
    **{f"mmdet3d_minkunet18_{w}": {"cr": cr} for w, cr in (("w16", 0.5), ("w20", 0.64), ("w32", 1.0))},
    "mmdet3d_minkunet34_w32": {"depth": 34},
    "mmdet3d_minkunet34v2_w32": {"depth": 34, "classifier": "levels"},
    **{f"mmdet3d_spvcnn_{w}": {"cr": cr} for w, cr in (("w16", 0.5), ("w20", 0.64), ("w32", 1.0))},
    **{
        f"openpcseg_{net}_mk{depth}_{width}": {"cr": cr, "depth": depth, "classifier": "levels"}
        for net in ("minkunet", "spvcnn")
        for depth, width, cr in ((18, "cr10", 1.0), (34, "cr10", 1.0), (34, "cr16", 1.6))
    },
    **{
        f"spvnas_{net}_{width}": {"cr": cr}
        for net in ("minkunet", "spvcnn")
        for width, cr in (("cr0p5", 0.5), ("cr0p64", 0.64), ("cr1p0", 1.0))
    },
    **{f"torchpointcloud_spvcnn_{g}gmacs": {"cr": cr} for g, cr in ((30, 0.5), (47, 0.64), (119, 1.0))},
}
TITLES = {
    "mmdet3d": "mmdetection3d",
    "openpcseg": "OpenPCSeg",
    "spvnas": "mit-han-lab/spvnas",
    "torchpointcloud": "torch-pointcloud",
}


def network(name: str) -> Backbone:
    made: Backbone = (SPVCNN if "spvcnn" in name else MinkUNet)(**NETWORKS[name])
    return made.eval()


def checkpoint(path: Path, facts: dict[str, Any]) -> Path:
    """A file as the project writes it, filled by the rule of the golden data."""
    weights: Any = fill_state_dict(facts["state_dict"])
    wrapper = next(iter(facts["checkpoint_wrapper"]))
    torch.save(weights if wrapper == "none" else {wrapper: weights, "epoch": 36}, path)
    return path


def largest_error(logits: Tensor, want: Tensor) -> float:
    return float((logits - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_of_the_original(shared: Path, tmp_path: Path, name: str) -> None:
    folder = shared / "golden/peers"
    facts = json.loads((folder / f"{name}.json").read_text())
    net = network(name)
    report = load_pretrained(checkpoint(tmp_path / "file", facts), net)
    (tmp_path / "file").unlink()
    check_report(report, name, len(net.state_dict()), len(facts["state_dict"]))
    with np.load(folder / f"{name}.npz") as arrays:
        golden = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    with torch.inference_mode():
        logits = net(golden["feats"], golden["coords"][:, [3, 0, 1, 2]]).logits
    published = golden["logits"][:, -logits.shape[1] :]
    exact = golden.get("logits_exact_coords", golden["logits"])[:, -logits.shape[1] :]
    error = largest_error(logits, exact)
    print(f"{name}: {error:.2e} of the largest logit, {sum(p.numel() for p in net.parameters()):,} parameters")
    assert error <= TOLERANCE
    assert largest_error(logits, published) <= ROUNDING


def check_report(report: LoadReport, name: str, ours: int, theirs: int) -> None:
    assert TITLES[name.partition("_")[0]] in report.kind
    assert (report.missing, report.unexpected) == ((), ())
    assert len(report.matched) == ours
    branch = [tensor for tensor in report.unused if tensor.startswith("point_transforms.")]
    assert len(branch) == len(report.unused) == theirs - ours
