"""Check a submission as the benchmark's server would: `clusterseg submission PATH [data.root=DIR]`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from omegaconf import DictConfig

from clusterseg.config.signatures import require
from clusterseg.errors import UserError
from clusterseg.predict.validate import Checked, validate


def submission(config: DictConfig, run_dir: Path) -> Checked:
    """Check `config.path`, a submission.zip or the folder that holds `sequences`, for the track `config.track`.

    Raises:
        UserError: The first mistake found.
    """
    require(config, track=Literal["single", "multi"])
    if config.path is None:
        raise UserError("path is not set; give a submission.zip, or the folder that holds `sequences`")
    path = Path(str(config.path)).expanduser()
    checked = validate(path, config.data.root, config.track)
    print(checked.verdict(path))
    return checked
