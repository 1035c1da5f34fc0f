"""Views of a scan for test-time augmentation: exact quarter turns, mirrors and scales."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float32

from clusterseg.errors import UserError


@dataclass(frozen=True)
class View:
    """One view of a scan; a deterministic transform with the interface of `clusterseg.data.transforms`.

    Attributes:
        quarter_turns: Rotation about z in units of 90 degrees, counter-clockwise; exact, without sine and cosine.
        flip_x: Whether x is negated, after the rotation.
        flip_y: Whether y is negated, after the rotation.
        scale: Factor on x, y and z.
    """

    quarter_turns: int = 0
    flip_x: bool = False
    flip_y: bool = False
    scale: float = 1.0

    @property
    def is_identity(self) -> bool:
        """Whether the view leaves every scan as it is."""
        return self == View()

    def __call__(
        self, points: Float32[np.ndarray, "points channels"], rng: np.random.Generator | None = None
    ) -> Float32[np.ndarray, "points channels"]:
        """Return the points as seen in this view."""
        x, y, z = points.T[:3]
        for _ in range(self.quarter_turns % 4):
            x, y = -y, x
        columns = [-x if self.flip_x else x, -y if self.flip_y else y, z]
        if self.scale != 1:
            columns = [column * np.float32(self.scale) for column in columns]
        return np.concatenate([np.stack(columns, axis=1), points[:, 3:]], axis=1)


VIEWS: dict[str, tuple[View, ...]] = {
    "none": (View(),),
    "rot4": tuple(View(turns) for turns in range(4)),
    "flip4": tuple(View(flip_x=x, flip_y=y) for x, y in product((False, True), repeat=2)),
    "full": tuple(
        View(turns, flip_y=flip, scale=scale)
        for scale, flip, turns in product((1.0, 0.95, 1.05), (False, True), range(4))
    ),
}


def choose_views(name: str) -> tuple[View, ...]:
    """Return the views of a setting, the identity first.

    Args:
        name: `none`; `rot4`, four quarter turns; `flip4`, the mirrors in x and y; `full`, turns x mirrors x scales
            0.95, 1 and 1.05, 24 in all.

    Raises:
        UserError: There is no such setting.
    """
    if name not in VIEWS:
        raise UserError(f"tta={name}: no such test-time augmentation; choose one of {', '.join(VIEWS)}")
    return VIEWS[name]
