"""Check a submission as the benchmark's server would: `clusterseg submission PATH [data.root=DIR]`."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from clusterseg.errors import UserError
from clusterseg.predict.validate import Checked, validate


def submission(config: DictConfig, run_dir: Path) -> Checked:
    """Check `config.path`, a submission.zip or the folder that holds `sequences`.

    Raises:
        UserError: The first mistake found.
    """
    if config.path is None:
        raise UserError("path is not set; give a submission.zip, or the folder that holds `sequences`")
    path = Path(str(config.path)).expanduser()
    checked = validate(path, config.data.root)
    print(checked.verdict(path))
    return checked
