"""The corruptions by name, and one of them as a step between a reader and the voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clusterseg.data.augment.labelled import LabelledScan, Mix
from clusterseg.data.corrupt.fog import fog
from clusterseg.data.corrupt.kind import About, Corruption
from clusterseg.data.corrupt.motion import motion_blur
from clusterseg.data.corrupt.sensor import beam_missing, cross_sensor, crosstalk, incomplete_echo
from clusterseg.data.corrupt.snow import snow
from clusterseg.data.corrupt.wet_ground import wet_ground
from clusterseg.data.multiscan import AGE
from clusterseg.errors import UserError

CORRUPTIONS: Mapping[str, Corruption] = {
    "fog": fog,
    "wet_ground": wet_ground,
    "snow": snow,
    "motion_blur": motion_blur,
    "beam_missing": beam_missing,
    "crosstalk": crosstalk,
    "incomplete_echo": incomplete_echo,
    "cross_sensor": cross_sensor,
}


@dataclass(frozen=True)
class Corrupt(Mix):
    """One corruption at one severity, with the interface of a mix; needs no second scan.

    The generator of a scan depends on seed, epoch and index alone, so that the severities share their draws.

    Attributes:
        name: A key of `CORRUPTIONS`.
        severity: 0 (light) to 2 (heavy).
        about: The data set.

    Examples:
        >>> points = np.random.default_rng(0).uniform(1, 40, (200, 4)).astype(np.float32)
        >>> points[:, 3] /= 40
        >>> scan = LabelledScan(points, np.zeros(200, np.int64), np.zeros(200, np.int64))
        >>> blurred = Corrupt("motion_blur", 2, About(["car"]))(scan, None, np.random.default_rng(0))
        >>> len(blurred), float(np.abs(blurred.points - points)[:, :3].max()) > 0.1
        (200, True)
    """

    name: str
    severity: int
    about: About

    def __call__(self, scan: LabelledScan, other: LabelledScan | None, rng: np.random.Generator) -> LabelledScan:
        """Return the corrupted scan; one point at least stays."""
        corrupted = CORRUPTIONS[self.name](scan, rng, self.severity, self.about)
        return corrupted if len(corrupted) else scan.where(np.arange(len(scan)) == 0)


def choose_corruptions(setting: Any) -> tuple[str, ...]:
    """Return the names of `corrupt=all`, `corrupt=fog` or `corrupt=[fog,snow]`; none for null.

    Raises:
        UserError: A name is unknown or comes twice.

    Examples:
        >>> choose_corruptions(["fog", "snow"])
        ('fog', 'snow')
        >>> len(choose_corruptions("all"))
        8
    """
    if setting is None:
        return ()
    names = (
        [setting] if isinstance(setting, str) else list(setting) if isinstance(setting, Sequence) else [str(setting)]
    )
    if names == ["all"]:
        return tuple(CORRUPTIONS)
    unknown = [name for name in names if name not in CORRUPTIONS]
    if unknown or len(set(names)) != len(names) or not names:
        got = f"unknown {', '.join(unknown)}" if unknown else f"got {names}"
        raise UserError(f"corrupt: {got}; expected all, null, or names, each once, among {', '.join(CORRUPTIONS)}")
    return tuple(names)


def check_corruptions(names: Sequence[str], about: About) -> None:
    """Check that the data has the columns and classes that corruptions need.

    Raises:
        UserError: It lacks one.
    """
    if AGE in about.features:
        raise UserError(
            "corrupt: these corruptions are of single scans, and the network takes several in one (data.window); "
            "leave corrupt out"
        )
    point = np.array([[10, 0, -1.7] + [0.5] * (len(about.features) - 3)], np.float32)
    scan = LabelledScan(point, np.array([0]), np.array([0]))
    for name in names:
        CORRUPTIONS[name](scan, np.random.default_rng(0), 0, about)
