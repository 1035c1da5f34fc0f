"""The losses of the first steps of each network and recipe: `python tests/loss_curves.py [--write] [NAME ...]`.

Whole trainings on tiny scans from a fixed seed, in float64: there, other instructions of another CPU change no loss by
more than 1e-8 of it (measured between AVX2 and none), and a change of what is computed by far more. `--write` stores
the curves as those that `test_loss_curves.py` expects; without it they are compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import pytorch_lightning as pl
import torch
from tiny import write_control, write_dataset
from tiny_run import configure
from torch import Tensor

from clusterseg.build.prepare import prepare
from clusterseg.build.training import build
from clusterseg.commands.train import fit
from clusterseg.files import CONF

STORED = Path(__file__).parent / "fixtures" / "loss_curves.json"
STEPS = 20
#: Of the loss.
TOLERANCE = 1e-6
HEAD = "model.cluster={clusters_per_class: 4, anchors_per_class: 24, bank_size: 20, ramp_steps: 4}"
RECIPES = [path.stem for path in sorted((CONF / "experiment" / "recipe").glob("*.yaml"))]
#: One for each network, in turn with the head, the losses, the optimisers and the augmentations.
QUICK = {
    "spvnas_cluster": ["model=spvnas_cluster", HEAD, "optim=sgd"],
    "spvcnn": ["model=spvcnn", "loss=ce", "optim=one_cycle", "augmentation=cutmix"],
    "minkunet34v2": ["model=minkunet34v2", "optim=multi_step", "augmentation=laser_polarmix"],
}
SLOW = {
    "spvnas": ["model=spvnas"],
    "minkunet": ["model=minkunet", "optim=adamw"],  # with the SGD of the others rounding grows tenfold a step
    "minkunet34": ["model=minkunet34"],
    "spvcnn18_cluster": ["model=spvcnn18_cluster", HEAD],
    "spvcnn34": ["model=spvcnn34", "augmentation=mix3d"],
    "improved head": ["model=spvnas_cluster", "model/cluster=improved", HEAD],
    "prototypes": ["model=spvnas_cluster", "model/cluster=prototypes", HEAD],
    "reference head": ["model=spvnas_cluster", "model/cluster=reference", HEAD],
    **{f"recipe/{name}": [f"experiment=recipe/{name}", "model.init_from=null"] for name in RECIPES},
}
CASES = QUICK | SLOW


class Losses(pl.Callback):
    """Notes the loss of each step, in the precision of its terms."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_before_backward(self, trainer: pl.Trainer, task: pl.LightningModule, loss: Tensor) -> None:
        self.found.append(sum(term.item() for term in task.terms.values()))


def write_inputs(folder: Path) -> Path:
    """Write what the trainings read."""
    write_dataset(folder / "data", {"00": 6}, points=250)
    write_control(folder / "net.config")
    return folder


def narrow(case: str, folder: Path) -> list[str]:
    """The setting that makes a network narrow: small networks are of SPVNAS if they have a table of widths."""
    texts = [(CONF / "experiment" / f"{case}.yaml").read_text()] if case in SLOW and "/" in case else CASES[case]
    spvnas = any(word in text for text in texts for word in ("model: spvnas", "model=spvnas", "spvnas_small"))
    widths = [f"model.backbone.control={folder / 'net.config'}"] if spvnas else ["model.backbone.cr=0.1"]
    drops = spvnas or any("spvcnn" in text for text in texts)
    return [
        *widths,
        *(["model.backbone.dropout=0"] if drops else []),
    ]  # how it is drawn depends on the build of PyTorch


def curve(case: str, folder: Path) -> list[float]:
    """Train some steps; `folder` holds what `write_inputs` has written."""
    run = folder / case.replace("/", "_")
    config = configure(
        "train",
        *CASES[case],
        *narrow(case, folder),
        f"data.root={folder / 'data'}",
        "data.sequences={train: [0], val: []}",
        "data={num_workers: 0, voxel_size: 0.4, batch_size: 2}",
        "trainer=cpu",
        f"trainer.max_steps={STEPS}",
        "trainer.max_epochs=-1",
        "trainer.accumulate_grad_batches=1",
        "logger=none",
        *(f"callbacks.{name}=null" for name in ("best", "last", "clusters", "dashboard", "pictures", "outcome")),
    )
    torch.set_default_dtype(torch.float64)  # the weights are drawn in it, too: their last bit depends on the CPU
    try:
        parts, losses = build(prepare(config), run), Losses()
    finally:
        torch.set_default_dtype(torch.float32)
    parts.task.double()
    parts.trainer.callbacks.insert(0, losses)  # type: ignore[attr-defined]
    fit(parts)
    return losses.found


def stored() -> dict[str, list[float]]:
    curves: dict[str, list[float]] = json.loads(STORED.read_text())
    return curves


def largest_difference(found: list[float], expected: list[float]) -> float:
    """Of the loss; infinity where the numbers of steps differ."""
    if len(found) != len(expected):
        return float("inf")
    return max(abs(one - other) / abs(other) for one, other in zip(found, expected, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="store the curves instead of comparing them")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all by default: {', '.join(CASES)}")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(CASES))
    if unknown:
        parser.error(f"got {', '.join(unknown)}; expected names among {', '.join(CASES)}")
    known = stored() if STORED.is_file() else {}
    off = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_inputs(Path(temporary))
        for name in given.names or CASES:
            found = curve(name, folder)
            difference = largest_difference(found, known.get(name, []))
            off += difference > TOLERANCE
            print(f"{name}: {found[0]:.6f} -> {found[-1]:.6f}, off by {difference:.1e}", flush=True)
            known[name] = [round(loss, 12) for loss in found]
    if given.write:
        lines = [f"{json.dumps(name)}: {json.dumps(known[name])}" for name in CASES if name in known]
        STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return 0 if given.write else int(off > 0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
