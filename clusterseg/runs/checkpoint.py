"""Checkpoint files: written atomically, read without executing code."""

from __future__ import annotations

import logging
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from clusterseg.backbone.safetensors_file import is_safetensors
from clusterseg.backbone.shipped import weights_path
from clusterseg.errors import UserError, error_line
from clusterseg.files import temporary_name
from clusterseg.runs.network_file import read_network_file

PREVIOUS = "previous.ckpt"  # the last checkpoint but one, should the last be damaged
log = logging.getLogger("clusterseg")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary file and renames it, so that a checkpoint is never partial."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a checkpoint."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(temporary_name(target.name))
        try:
            with open(temporary, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except (OSError, RuntimeError) as error:  # PyTorch's writer fails later and hides the cause
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            raise UserError(
                f"checkpoint {target} could not be written: {cause.strerror}; free or choose another disk"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint of `train.py` onto the CPU, with `weights_only=True`; or a network that `export` wrote.

    Args:
        path: The file, or the name of a network of the package, see :mod:`clusterseg.backbone.shipped`.

    Raises:
        UserError: The file is missing, damaged, holds more than plain data, or is no checkpoint of this project.
    """
    file = weights_path(path, "ckpt")
    if not file.is_file():
        raise UserError(
            f"ckpt={path}: no such file; give the path of a checkpoint, as RUN/checkpoints/best.ckpt, or streets"
        )
    if is_safetensors(file):
        return read_network_file(file)
    try:
        require_whole(file)
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = error_line(error)
        raise UserError(
            f"ckpt={path} is damaged or holds more than weights and settings ({reason}); it was not loaded"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise UserError(f"ckpt={path} cannot be read: {error_line(error)}; the file may be cut short") from None
    if not isinstance(checkpoint, dict) or not {"state_dict", "config"} <= checkpoint.keys():
        raise UserError(f"ckpt={path} is no checkpoint of train.py: expected the entries state_dict and config")
    return checkpoint


def require_whole(file: Path) -> None:
    """Verify the checksum of each part of a checkpoint; `torch.load` does not.

    Raises:
        ValueError: A part has changed since it was written.
        OSError: The file cannot be read.
    """
    if zipfile.is_zipfile(file):  # torch.load rejects anything else
        try:
            with zipfile.ZipFile(file) as archive:
                changed = archive.testzip()
        except zipfile.BadZipFile as error:
            raise ValueError(error_line(error)) from error
        if changed is not None:
            raise ValueError(f"{changed} differs from what was written")


def newest_whole(folder: Path) -> Path | None:
    """Return `last.ckpt`, or the newest other intact checkpoint if it is missing or damaged; None if there is none.

    Damaged checkpoints are logged.
    """
    written = sorted(folder.glob("*.ckpt"), key=lambda path: (path.name == "last.ckpt", path.stat().st_mtime_ns))
    for path in reversed(written):
        try:
            read_checkpoint(path)
        except UserError as error:
            log.warning("passed over: %s", error)
        else:
            return path
    return None


def resume_path(ckpt: str | None, run_dir: Path) -> Path | None:
    """Return the checkpoint to resume.

    Args:
        ckpt: A path; `last` for the newest intact one of the run folder; `auto` for the same, if there is one; None.
        run_dir: The run folder.

    Raises:
        UserError: There is no such file.
    """
    if ckpt is None:
        return None
    if ckpt not in ("last", "auto"):
        file = weights_path(ckpt, "ckpt")
        if not file.is_file():
            raise UserError(f"ckpt={ckpt}: there is no such file; give the path of a checkpoint")
        return file
    newest = newest_whole(run_dir / "checkpoints")
    if newest is None and ckpt == "last":
        raise UserError(
            f"ckpt=last: no checkpoint in {run_dir / 'checkpoints'} can be read; give the run folder by "
            "hydra.run.dir=DIR, or ckpt=auto to begin where there is none yet"
        )
    return newest


def backbone_weights(checkpoint: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the backbone's weights of a checkpoint."""
    prefix = "backbone."
    return {key[len(prefix) :]: value for key, value in checkpoint["state_dict"].items() if key.startswith(prefix)}
