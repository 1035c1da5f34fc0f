"""The plan of a study: its arms, seeds and endpoint, fixed in a file before anything runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, field_validator, model_validator
from yaml import YAMLError

from clusterseg.errors import UserError
from clusterseg.files import CONF

FOLDER = CONF / "study"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_OWN = ("seed=", "hydra.run.dir=", "ckpt=", "overwrite=")


class _File(BaseModel):
    """What a study's YAML holds; see `Plan`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: str
    baseline: str
    arms: dict[str, list[str]] = Field(min_length=2)
    seeds: list[int] = Field(min_length=2)
    common: list[str] = []
    by_seed: dict[int, list[str]] = {}
    endpoint: str = "val/miou"
    also: list[str] = []
    groups: dict[str, list[str]] = {}
    pairs: list[Annotated[tuple[str, str], Strict(False)]] = []

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError("expected distinct seeds, 0 or more")
        return seeds

    @model_validator(mode="after")
    def _consistent(self) -> _File:
        bad = [name for name in self.arms if not _NAME.fullmatch(name)]
        if bad:
            raise ValueError(f"arms: {bad[0]!r} cannot name a folder; expected letters, digits and _ . + -")
        if self.baseline not in self.arms:
            raise ValueError(f"baseline: got {self.baseline}, expected one of the arms {', '.join(self.arms)}")
        for name in (name for pair in self.pairs for name in pair):
            if name not in self.arms:
                raise ValueError(f"pairs: got {name}, expected two of the arms {', '.join(self.arms)}")
        if self.by_seed and set(self.by_seed) != set(self.seeds):
            raise ValueError(
                f"by_seed: got {_listed(self.by_seed)}, expected settings for each of {_listed(self.seeds)}"
            )
        for setting in chain(self.common, *self.by_seed.values(), *self.arms.values()):
            if setting.startswith(_OWN):
                raise ValueError(f"{setting}: the study sets this itself, for each run")
        return self


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        arm: Name of its arm.
        seed: Its seed; the runs of one seed are paired.
        settings: Arguments of `clusterseg train`: those of the study, of the seed, of the arm, then the seed itself.
    """

    arm: str
    seed: int
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        """`ARM/SEED`, which is also its folder and its file."""
        return f"{self.arm}/{self.seed}"

    @property
    def hash(self) -> str:
        """Twelve digits that change with its settings."""
        return hashlib.sha256(json.dumps(self.settings).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Plan:
    """A study as its file states it.

    Attributes:
        name: The file's name without `.yaml`.
        question: What is asked, in one sentence.
        baseline: The arm to which every other one is compared.
        arms: Settings of `clusterseg train` by arm.
        seeds: Seeds of every arm.
        common: Settings of every run.
        by_seed: Settings of every run of a seed, such as the sequence that a fold leaves out; empty, or for all seeds.
        endpoint: The metric that decides, read at the last validation.
        also: Further metrics to compare; a `*` at the end stands for all that begin so.
        groups: Means of several metrics, compared as one figure each: their names, with `*` as in `also`, by a name.
        pairs: Comparisons of an arm with another one than the baseline.
        given: What a command line calls it: its name, or the path of its file.
    """

    name: str
    question: str
    baseline: str
    arms: dict[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    common: tuple[str, ...] = ()
    endpoint: str = "val/miou"
    also: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] = ()
    by_seed: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    given: str = ""

    def cells(self) -> Iterator[Cell]:
        """Yield the runs, seed by seed, so that a study cut short has whole pairs.

        Examples:
            >>> plan = Plan("p", "?", "a", {"a": (), "b": ("x=1",)}, seeds=(1, 2))
            >>> [cell.name for cell in plan.cells()]
            ['a/1', 'b/1', 'a/2', 'b/2']
        """
        for seed in self.seeds:
            for arm, settings in self.arms.items():
                yield Cell(arm, seed, (*self.common, *self.by_seed.get(seed, ()), *settings, f"seed={seed}"))


def read_plan(study: str) -> Plan:
    """Read the plan of a study.

    Args:
        study: The name of a file in `conf/study`, or the path of a YAML file.

    Raises:
        UserError: There is no such file, or it does not hold a plan.
    """
    path = Path(study).expanduser() if study.endswith((".yaml", ".yml")) else FOLDER / f"{study}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise UserError(f"{path}: no such study; expected one of {known}, or the path of a YAML file")
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
        file = _File.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_first(error)}") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from None
    arms = {name: tuple(settings) for name, settings in file.arms.items()}
    return Plan(
        path.stem,
        file.question,
        file.baseline,
        arms,
        tuple(file.seeds),
        tuple(file.common),
        file.endpoint,
        tuple(file.also),
        {name: tuple(metrics) for name, metrics in file.groups.items()},
        tuple(file.pairs),
        {seed: tuple(settings) for seed, settings in file.by_seed.items()},
        study,
    )


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def chosen(cells: Sequence[Cell], arms: Sequence[str] | None) -> list[Cell]:
    """Return the cells of some arms; of all if None is given.

    Raises:
        UserError: An arm is not in the plan.
    """
    if arms is None:
        return list(cells)
    known = list(dict.fromkeys(cell.arm for cell in cells))
    for arm in arms:
        if arm not in known:
            raise UserError(f"arms: got {arm}, expected some of {', '.join(known)}")
    return [cell for cell in cells if cell.arm in arms]
