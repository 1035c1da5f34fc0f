"""The recipe of a data set: every setting that determines its bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from clusterseg.errors import UserError
from clusterseg.synthetic.lidar import Lidar

RECIPE_FILE = "streets.json"
VERSION = 1
ALL_SEQUENCES = tuple(range(22))
_LAST = 99  # 22 to 99: more towns, for whoever trains on many
_BEAMS = (16, 32, 64)
# settings of later versions, as what data sets of before them count: these keep their hash
_LATER = {"hoardings": 0.0, "narrow": 0.0}


@dataclass(frozen=True)
class Recipe:
    """Settings of a generated data set. Equal recipes give the same bytes on any number of processes.

    Attributes:
        scans: Scans in each sequence.
        seed: Of everything random.
        sequences: Numbers 0 to 99; each is a town of its own. 08 is the validation town, 11 to 21 are test towns;
            22 to 99 are more towns, whose shapes are mixed as in training, validation and test towns by turns.
        beams: 64, 32 or 16.
        azimuths: Firings per turn.
        period: Time between two scans, in seconds. KITTI has 0.1; a longer one gives more different scans.
        max_range: In metres.
        noise: Standard deviation of ranges, in metres.
        hoardings: Share of the blocks with a tall closed fence between pavement and lot, as around building sites.
        narrow: Share of the towns with narrow streets and wide pavements.

    Raises:
        UserError: A setting is out of its range.

    Examples:
        >>> recipe = Recipe(scans=2, sequences=(0, 8), beams=16, azimuths=250)
        >>> recipe.hash == Recipe(2, 1, (0, 8), 16, 250).hash, recipe.bytes_needed
        (True, 320000)
    """

    scans: int = 20
    seed: int = 1
    sequences: tuple[int, ...] = ALL_SEQUENCES
    beams: int = 64
    azimuths: int = 2000
    period: float = 1.0
    max_range: float = 80.0
    noise: float = 0.01
    hoardings: float = 0.0
    narrow: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sequences", tuple(sorted(set(self.sequences))))
        _require(1 <= self.scans <= 10**6, "scans", self.scans, "1 to 1000000 (in each sequence)")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        known = bool(self.sequences) and set(self.sequences) <= set(range(_LAST + 1))
        _require(known, "sequences", list(self.sequences), f"numbers from 0 to {_LAST}, such as [00,01,08]")
        _require(self.beams in _BEAMS, "beams", self.beams, "16, 32 or 64")
        _require(16 <= self.azimuths <= 10000, "azimuths", self.azimuths, "16 to 10000")
        _require(0 < self.period <= 100, "period", self.period, "seconds above 0, at most 100")
        _require(10 <= self.max_range <= 90, "max_range", self.max_range, "10 to 90 metres")
        _require(0 <= self.noise <= 1, "noise", self.noise, "0 to 1 metre")
        _require(0 <= self.hoardings <= 1, "hoardings", self.hoardings, "0 to 1")
        _require(0 <= self.narrow <= 1, "narrow", self.narrow, "0 to 1")

    @classmethod
    def of(cls, **settings: object) -> Recipe:
        """A recipe from settings as they come from a command line or a config (text or values).

        Raises:
            UserError: An unknown setting, or a value that cannot be read.
        """
        types = {f.name: f.type for f in fields(cls)}
        values: dict[str, object] = {}
        for key, value in settings.items():
            if key not in types:
                raise UserError(f"{key}: is not a setting of streets; expected one of {', '.join(types)}")
            values[key] = _sequences(value) if key == "sequences" else _number(key, value, str(types[key]))
        return cls(**values)  # type: ignore[arg-type]  # by field

    @property
    def lidar(self) -> Lidar:
        """The sensor."""
        return Lidar(self.beams, self.azimuths, self.max_range, self.noise)

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that change with every setting and with the version of the generator."""
        settings = {key: value for key, value in asdict(self).items() if (key, value) not in _LATER.items()}
        text = json.dumps({**settings, "version": VERSION}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def bytes_needed(self) -> int:
        """About how much disk the data set takes; every ray that returns is 16 bytes of point and 4 of label."""
        return self.scans * len(self.sequences) * self.beams * self.azimuths * 20

    def to_json(self) -> str:
        """The text of the recipe file."""
        return json.dumps({"hash": self.hash, "version": VERSION, **asdict(self)}, indent=1) + "\n"

    def differences(self, path: Path) -> str | None:
        """How a recipe file differs from this recipe, for a message; None when it is the same."""
        try:
            other = {**_LATER, **json.loads(path.read_text())}
            if other["hash"] == self.hash:
                return None
            mine = json.loads(self.to_json())
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"it cannot be read ({error!r})"
        changed = [k for k in mine if k != "hash" and mine[k] != other.get(k)]
        return ", ".join(f"{k} is {other.get(k)}, asked for {mine[k]}" for k in changed) or "it was changed by hand"


def _require(good: bool, key: str, got: object, expected: str) -> None:
    if not good:
        raise UserError(f"{key}: got {got}, expected {expected}")


def _number(key: str, value: object, kind: str) -> float | int:
    try:
        number = float(str(value))
        if kind == "int" and number != int(number):
            raise ValueError
        return int(number) if kind == "int" else number
    except (ValueError, OverflowError) as error:
        expected = "a whole number" if kind == "int" else "a number"
        raise UserError(f"{key}: got {value!r}, expected {expected}") from error


def _sequences(value: object) -> tuple[int, ...]:
    """Numbers from a list or from text such as "[00,01]", "00,01" or "all"."""
    if isinstance(value, str):
        value = value.strip().strip("[]")
        value = ALL_SEQUENCES if value == "all" else [part for part in value.split(",") if part.strip()]
    elif isinstance(value, int):
        value = [value]
    if not isinstance(value, Sequence):
        raise UserError(f"sequences: got {value!r}, expected a list such as [00,01,08]")
    return tuple(int(_number("sequences", v, "int")) for v in value)
