"""Bird's-eye pictures of the same few scans after each validation: input, truth, prediction, error."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Integer, UInt8
from matplotlib.image import imread
from pydantic import Field
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from clusterseg.config.signatures import checked
from clusterseg.data.batch import Batch
from clusterseg.distributed import gather_objects
from clusterseg.files import write_file
from clusterseg.viz.bev import bev_strip, panels
from clusterseg.viz.figures import png

log = logging.getLogger("clusterseg")
FOLDER = "pictures"
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, eq=False)
class _Result:
    """Truth and prediction of one scan, as bytes, which the ranks exchange."""

    scan_id: str
    truth: UInt8[np.ndarray, " points"]
    prediction: UInt8[np.ndarray, " points"]


@checked("callbacks.pictures")
class BevPictures(Callback):
    """Writes `pictures/XX_NNNNNN/step_SSSSSS.png` and sends it to wandb and tensorboard if enabled.

    The predictions are those of the validation itself. The step is that of its row in `metrics.csv`. A picture that
    fails is logged as a warning and skipped; the run continues.

    Args:
        folder: The run folder.
        scans: Number of scans, from the start of the validation split.
        every: Number of validations between two sets of pictures.
    """

    def __init__(self, folder: Path, scans: Count = 2, every: Count = 1) -> None:
        self.folder, self.scans, self.every = folder / FOLDER, scans, every
        self._chosen: dict[str, int] = {}
        self._results: list[_Result] = []
        self._validations = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the number of validations so far."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of validations."""
        self._validations = state_dict["validations"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove pictures of later steps, which a resumed run writes again, as `metrics.csv` drops its rows."""
        if trainer.is_global_zero:
            for path in self.folder.glob("*/step_*.png"):
                if int(path.stem.removeprefix("step_")) >= trainer.global_step:
                    path.unlink(missing_ok=True)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the scans if this validation has pictures."""
        self._chosen, self._results = {}, []
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            if self._validations % self.every == 0:
                data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning leaves it untyped
                scan_ids = data.dataset("val").scan_ids[: self.scans]
                self._chosen = {scan_id: index for index, scan_id in enumerate(scan_ids)}
            self._validations += 1

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int, *_: Any
    ) -> None:
        """Store the predictions for the chosen scans."""
        if self._chosen.keys() & set(batch.scan_ids):
            assert isinstance(outputs, Tensor)
            columns = [_scans(batch, values) for values in (batch.point_targets, outputs)]
            rows = zip(batch.scan_ids, *columns, strict=True)
            self._results += [_Result(*row) for row in rows if row[0] in self._chosen]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the scans of all ranks, on rank 0."""
        if not self._chosen:
            return
        drawn = [scan for scans in gather_objects(self._results) for scan in scans]
        if trainer.is_global_zero:
            for scan in sorted(drawn, key=lambda scan: scan.scan_id):
                try:
                    self._show(trainer, scan)
                except Exception as error:  # a failed picture must not fail the run
                    log.warning("no picture of scan %s: %s", scan.scan_id, error)

    def _show(self, trainer: pl.Trainer, scan: _Result) -> None:
        """Write the picture of a scan and send it to the loggers."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning leaves it untyped
        colours = data.label_map.colours
        xyz = data.dataset("val").read(self._chosen[scan.scan_id]).points[:, :3]
        figure = bev_strip(xyz, panels(xyz, scan.truth, scan.prediction, colours))
        step, name = max(trainer.global_step - 1, 0), scan.scan_id.replace("/", "_")
        path = self.folder / name / f"step_{step:06d}.png"
        write_file(path, png(figure))
        for logger in trainer.loggers:
            _send(logger, f"{FOLDER}/{name}", path, step)


def _scans(batch: Batch, train_ids: Integer[Tensor, " points"]) -> list[UInt8[np.ndarray, " points"]]:
    """Split the train ids of a batch by scan."""
    parts = torch.split(train_ids.to("cpu", torch.uint8), batch.point_counts.tolist())
    return [part.numpy() for part in parts]


def _send(logger: Logger, key: str, path: Path, step: int) -> None:
    if isinstance(logger, WandbLogger):
        logger.log_image(key, [str(path)], step=step)
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(key, imread(path)[..., :3], step, dataformats="HWC")
