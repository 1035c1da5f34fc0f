"""Sample random networks of the SPVNAS family: `clusterseg search output=DIR scan=FILE.bin max_gmacs=30`."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from omegaconf import DictConfig
from pydantic import Field

from clusterseg.backbone import SPVNAS
from clusterseg.backbone.cost import ScanSize, count_macs, count_parameters, scan_size
from clusterseg.backbone.search_space import SearchSpace
from clusterseg.commands.profile import read_voxels
from clusterseg.config.signatures import require
from clusterseg.errors import UserError
from clusterseg.files import write_file

#: Rejected samples per requested network before the bounds count as impossible.
PATIENCE = 1000
log = logging.getLogger("clusterseg")


@dataclass(frozen=True)
class Candidate:
    """A sampled control table with its costs.

    Attributes:
        seed: Seed of the sample.
        table: The control table.
        parameters: Number of parameters in millions.
        gmacs: Multiply-accumulates on the scan, in 10^9.
    """

    seed: int
    table: dict[str, Any]
    parameters: float
    gmacs: float


def search(config: DictConfig, run_dir: Path) -> list[Candidate]:
    """Write `config.count` random control files within the bounds, and `networks.csv` with their costs.

    Raises:
        UserError: A setting or the scan is wrong, or no network meets the bounds.
    """
    positive = Annotated[int, Field(ge=1)]
    require(config, count=positive, num_classes=positive, seed=Annotated[int, Field(ge=0)])
    size = scan_size(read_voxels(Path(str(config.scan)), float(config.voxel_size))[1])
    found: list[Candidate] = []
    for seed in range(config.seed, config.seed + PATIENCE * config.count):
        candidate = sample(seed, size, config.num_classes)
        if candidate.parameters <= (config.max_mparams or float("inf")) and candidate.gmacs <= (
            config.max_gmacs or float("inf")
        ):
            found.append(candidate)
        if len(found) == config.count:
            break
    else:
        raise UserError(
            f"max_gmacs={config.max_gmacs}, max_mparams={config.max_mparams}: {len(found)} of {config.count} networks "
            f"found in {PATIENCE * config.count} samples; raise the bounds or lower count"
        )
    write(found, Path(str(config.output)).expanduser())
    return found


def sample(seed: int, size: ScanSize, num_classes: int) -> Candidate:
    """Sample a random network of the published space and compute its costs."""
    table = SearchSpace().sample(seed)
    with torch.device("meta"):
        network = SPVNAS(table, num_classes=num_classes)
    return Candidate(seed, table, count_parameters(network) / 1e6, count_macs(network, size) / 1e9)


def write(candidates: list[Candidate], folder: Path) -> None:
    """Write the control file of each candidate, then the table of their costs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output={folder} cannot be made ({error.strerror}); give another folder") from None
    lines = ["file,parameters (M),MACs (G)"]
    for candidate in candidates:
        name = f"spvnas_{candidate.seed}.json"
        write_file(folder / name, json.dumps(candidate.table, indent=1) + "\n")
        lines.append(f"{name},{candidate.parameters:.2f},{candidate.gmacs:.1f}")
    write_file(folder / "networks.csv", "\n".join(lines) + "\n")
    log.info("wrote %d control files and networks.csv into %s", len(candidates), folder)
