"""Find the remission value that maps to 1 from the values of some files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from clusterseg.data.clouds.cloud import Cloud
from clusterseg.errors import UserError

_REMEDY = (
    "set remission=VALUE (of data=folder: data.remission=VALUE), the value that means full reflection; 1 if it is "
    "right as it is"
)
_DARK = 0.02  # if 99 % of the values are lower, the scale is hardly 0..1
_UNKNOWN = (1.5, 8.0)  # too high for a scale 0..1, too low for whole numbers of 8 bits


@dataclass(frozen=True)
class Spread:
    """Robust statistics of one file's remission, insensitive to a few outliers.

    Attributes:
        low: 1st percentile of the finite values.
        middle: Their median.
        high: Their 99th percentile.
        whole: Whether nearly all of them are integers.
        bytes_: Size in bytes of the integer type in the file, 0 for floats.
    """

    low: float
    middle: float
    high: float
    whole: bool
    bytes_: int

    @property
    def is_dark(self) -> bool:
        """Whether the values are a few small integers, which fit any integer scale."""
        return self.whole and 0 < self.high < _UNKNOWN[1] and self.bytes_ == 0

    @property
    def scale(self) -> float | None:
        """1, or the largest integer of 8, 9, 10, ... bits that covers the values; None if undecidable."""
        if self.high == 0 or (self.bytes_ == 0 and _DARK <= self.high <= _UNKNOWN[0] and self.low > -0.5):
            return 1.0
        if self.bytes_ == 1:
            return 255.0
        too_low = self.high < _UNKNOWN[1] and self.bytes_ == 0
        if self.middle < 0 or too_low or not np.isfinite(self.high):
            return None
        return 2.0 ** max(8, int(np.ceil(np.log2(self.high + 1)))) - 1

    def __str__(self) -> str:
        return f"{self.low:.4g}..{self.high:.4g} (98 % of the values)"


def spread(cloud: Cloud) -> Spread | None:
    """Statistics of a cloud's remission, or None without a finite value."""
    if cloud.remission is None:
        return None
    finite: Float64[np.ndarray, " finite"] = cloud.remission[np.isfinite(cloud.remission)]
    if not len(finite):
        return None
    low, middle, high = np.quantile(finite, [0.01, 0.5, 0.99])
    kind = cloud.remission_type
    whole = bool((finite == np.rint(finite)).mean() > 0.99)
    return Spread(float(low), float(middle), float(high), whole, kind.itemsize if kind.kind in "iu" else 0)


def common_scale(spreads: Mapping[Path, Spread]) -> float:
    """Return the common scale of some files: that of the file with the highest values.

    Raises:
        UserError: The scale is undecidable, or the files differ too much to have one scale.
    """
    lit = {path: found for path, found in spreads.items() if found.high != 0}
    clear = {path: found for path, found in lit.items() if not found.is_dark}
    if not clear and all(found.scale == 1 for found in lit.values()):
        return 1.0
    for path, found in (clear or lit).items():
        if found.scale is None:
            raise UserError(f"{path}: remission (intensity) lies in {found}; its scale cannot be told: {_REMEDY}")
    ordered = sorted(clear, key=lambda path: clear[path].scale or 0)
    least, most = clear[ordered[0]], clear[ordered[-1]]
    assert least.scale is not None and most.scale is not None
    if least.scale == 1 < most.scale:
        raise UserError(
            f"{ordered[0]}: remission (intensity) lies in {least}, but in {ordered[-1]} in {most}; "
            "files of one scale are predicted together: predict the two kinds one after the other"
        )
    return most.scale


def describe(spreads: Sequence[Spread], scale: float) -> str:
    """Describe the assumed scale and its reason in one line."""
    low, high = min(s.low for s in spreads), max(s.high for s in spreads)
    finding = f"remission: 98 % of the values lie in {low:.4g}..{high:.4g}, so its scale is 0..{scale:g}"
    return f"{finding}: divided by {scale:g}; if that is wrong, {_REMEDY}"
