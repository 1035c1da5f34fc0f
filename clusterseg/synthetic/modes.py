"""Latent subclasses: the shape modes of each class, how often they occur, and the index beside the labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from clusterseg.errors import UserError
from clusterseg.synthetic.labels import CLASS_OF, CLASSES, Raw

MODES_FILE = "modes.json"
MAX_INSTANCES = 2**16 - 1

# class: {mode: (weight in training towns, weight in validation towns)}
_WEIGHTS: dict[str, dict[str, tuple[float, float]]] = {
    "car": {
        "hatchback": (40, 22),
        "saloon": (26, 14),
        "estate": (15, 12),
        "suv": (11, 28),
        "van": (6, 18),
        "sports": (2, 6),
    },
    "bicycle": {"city": (60, 30), "mountain": (25, 25), "cargo": (10, 30), "child": (5, 15)},
    "motorcycle": {"scooter": (60, 25), "naked": (30, 40), "cruiser": (10, 35)},
    "truck": {"box": (55, 25), "flatbed": (25, 20), "tanker": (12, 20), "tipper": (8, 35)},
    "other-vehicle": {
        "bus": (42, 22),
        "trailer": (26, 18),
        "caravan": (18, 20),
        "tractor": (9, 26),
        "tram": (5, 14),
    },
    "person": {"adult": (60, 35), "child": (18, 22), "stroller": (12, 23), "broad": (10, 20)},
    "bicyclist": {"upright": (60, 30), "racer": (28, 30), "cargo": (12, 40)},
    "motorcyclist": {"scooter": (60, 25), "naked": (28, 35), "cruiser": (12, 40)},
    "road": {"asphalt": (62, 35), "worn": (22, 25), "concrete": (10, 22), "cobble": (6, 18)},
    "parking": {"asphalt": (55, 25), "paving": (33, 35), "gravel": (12, 40)},
    "sidewalk": {"slabs": (55, 28), "asphalt": (30, 30), "paving": (15, 42)},
    "other-ground": {"gravel": (55, 25), "plaza": (33, 35), "track": (12, 40)},
    "building": {
        "terrace": (38, 18),
        "detached": (30, 22),
        "block": (17, 20),
        "hall": (10, 22),
        "shed": (5, 18),
    },
    "fence": {
        "wall": (36, 18),
        "picket": (28, 22),
        "mesh": (20, 22),
        "panel": (10, 20),
        "guardrail": (6, 18),
    },
    "vegetation": {
        "hedge": (32, 18),
        "bush": (30, 22),
        "broadleaf": (22, 20),
        "conifer": (10, 22),
        "scrub": (6, 18),
    },
    "trunk": {"straight": (52, 28), "thick": (26, 20), "forked": (14, 26), "leaning": (8, 26)},
    "terrain": {"lawn": (52, 26), "meadow": (28, 24), "soil": (12, 24), "tussock": (8, 26)},
    "pole": {
        "lamp": (46, 22),
        "post": (28, 22),
        "telegraph": (16, 24),
        "bollard": (10, 32),
    },
    "traffic-sign": {"disc": (48, 22), "triangle": (28, 24), "panel": (16, 26), "board": (8, 28)},
}


def mode_names(raw: int) -> tuple[str, ...]:
    """Names of the modes of the class of a raw id, in the order of the mode index; empty without a class."""
    name = CLASS_OF.get(Raw(raw))
    return tuple(_WEIGHTS[name]) if name else ()


def mode_weights(class_name: str, town: str) -> np.ndarray:
    """Frequencies (modes,) of a class, summing to one.

    Args:
        class_name: One of the 19 class names.
        town: "train", "val" or "test"; a test town lies half-way between the two others.
    """
    table = np.array(list(_WEIGHTS[class_name].values()), float)
    table /= table.sum(0)
    return {"train": table[:, 0], "val": table[:, 1], "test": table.mean(1)}[town]


class ModeRegister:
    """Hands out the instance ids of one sequence and remembers the mode behind each.

    Ids start at 1: 0 means "no instance" in the format.
    """

    def __init__(self, town: str) -> None:
        self.town = town
        self._entries: list[tuple[int, int]] = []

    def draw(self, class_name: str, rng: np.random.Generator, only: tuple[str, ...] = ()) -> str:
        """A mode of the class by the town's frequencies, among `only` where that is given."""
        names, weights = list(_WEIGHTS[class_name]), mode_weights(class_name, self.town)
        if only:
            weights = np.where([name in only for name in names], weights, 0.0)
        return names[int(rng.choice(len(names), p=weights / weights.sum()))]

    def add(self, raw: Raw, mode: str) -> int:
        """Register one thing (or one style of ground) and return its instance id, in 1..65535."""
        if len(self._entries) >= MAX_INSTANCES:
            raise UserError(
                f"scans: the route holds more than {MAX_INSTANCES} things, the most that the 16 instance bits "
                "of a .label file can tell apart; use fewer scans per sequence or a shorter period"
            )
        names = mode_names(raw)
        self._entries.append((int(raw), names.index(mode) if names else 0))
        return len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def raw(self) -> np.ndarray:
        """Raw ids (instances + 1,) by instance id; entry 0 is unlabeled."""
        return np.array([0, *(raw for raw, _ in self._entries)], np.uint32)

    def to_json(self) -> str:
        """The text of the index file: the names of the modes, and `[raw id, mode index]` of each instance."""
        instances = {str(i + 1): entry for i, entry in enumerate(self._entries)}
        return json.dumps({"modes": {name: list(_WEIGHTS[name]) for name in CLASSES}, "instances": instances})


def read_modes(sequence_dir: Path | str) -> dict[int, tuple[int, int]]:
    """The true subclass behind each instance id of a sequence.

    Args:
        sequence_dir: The folder that holds `velodyne`, `labels` and `modes.json`.

    Returns:
        `{instance id: (raw class id, mode index)}`; `mode_names(raw)` gives the names. Instance 0 is absent.
        Modes of one class count over all its raw ids: a moving car and a parked one share the same modes.

    Raises:
        UserError: There is no index file (real scans have none), or it is not one.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     text = '{"modes": {}, "instances": {"7": [10, 1]}}'  # as `write_streets` leaves it
        ...     _ = Path(folder, "modes.json").write_text(text)
        ...     raw, mode = read_modes(folder)[7]
        >>> raw, mode_names(raw)[mode]
        (10, 'saloon')
    """
    path = Path(sequence_dir) / MODES_FILE
    try:
        entries = json.loads(path.read_text())["instances"]
        return {int(key): (int(raw), int(mode)) for key, (raw, mode) in entries.items()}
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); only sequences written by `python -m "
            "clusterseg.synthetic` have true modes"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is not a mode index ({error!r}); generate the data set again") from error
