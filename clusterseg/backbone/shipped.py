"""Networks that come with the package, by name: `ckpt=streets`, `model.init_from=streets`."""

from __future__ import annotations

import os
from pathlib import Path

from clusterseg.errors import UserError

#: Where `clusterseg export format=clusterseg half=true` wrote them; docs/pretrained.md has their cards.
FOLDER = Path(__file__).resolve().parents[1] / "pretrained"
NAMES = ("streets",)


def is_shipped(setting: object) -> bool:
    """Whether a setting names a network of the package; a file of that name in the current folder comes first."""
    return str(setting) in NAMES and not Path(str(setting)).is_file()


def weights_path(setting: str | os.PathLike[str], key: str) -> Path:
    """Return the file that a setting means: that of a network of the package, or the path as it is written.

    Args:
        setting: A name of `NAMES`, or a path; `~` is the home folder.
        key: The setting's key, for the message.

    Raises:
        UserError: The package does not hold the network that is named.
    """
    if not is_shipped(setting):
        return Path(setting).expanduser()
    file = FOLDER / f"{setting}.safetensors"
    if not file.is_file():
        raise UserError(
            f"{key}={setting}: the network of that name should come with clusterseg, and {file} is missing; install a "
            f"version that has it, or give the path of a file of yours, as {key}=outputs/RUN/checkpoints/best.ckpt"
        )
    return file
