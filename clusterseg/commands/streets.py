"""Generate synthetic streets: `clusterseg streets out=DIR scans=20 seed=1`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from clusterseg.config.signatures import require
from clusterseg.errors import UserError
from clusterseg.synthetic.generate import write_streets
from clusterseg.synthetic.recipe import Recipe


def streets(config: DictConfig, run_dir: Path) -> Path:
    """Write a data set of streets into `config.out`; the same command continues after an interruption.

    Returns:
        The folder.

    Raises:
        UserError: A setting is wrong, or the folder cannot be written.
    """
    if config.out is None:
        raise UserError("out is not set; say where to write: clusterseg streets out=DIR")
    require(config, workers=Annotated[int, Field(ge=1)], overwrite=bool)
    settings = OmegaConf.to_container(config)
    assert isinstance(settings, dict)
    recipe = Recipe.of(**{field.name: settings[field.name] for field in fields(Recipe)})
    out = Path(str(config.out)).expanduser()
    write_streets(out, recipe, config.workers, config.overwrite)
    print(f"{out}: {recipe.scans} scans in each of {len(recipe.sequences)} sequences; recipe {recipe.hash}")
    return out
