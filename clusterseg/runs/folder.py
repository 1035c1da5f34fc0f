"""The configuration in a run folder."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.errors import UserError
from clusterseg.files import write_file


@rank_zero_only
def save_config(config: DictConfig, run_dir: Path) -> None:
    """Write the composed configuration into the run folder.

    Raises:
        UserError: The folder cannot be written.
    """
    try:
        write_file(run_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    except UserError as error:
        cause = error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) else str(error)
        raise UserError(f"run folder {run_dir} cannot be written ({reason}); choose one by hydra.run.dir=DIR") from None
