"""Solids: the primitives that things are made of, as columns of arrays, and the parts that assemble them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from clusterseg.synthetic.materials import M


class Kind(IntEnum):
    """Primitive; each fills the unit cube [-1, 1]^3 before it is scaled by its half sizes."""

    BOX = 0
    ELLIPSOID = 1
    CYLINDER = 2
    CONE = 3


class Part(NamedTuple):
    """One primitive of a thing, in the thing's frame: x forward, y left, z up, origin on the ground.

    Attributes:
        kind: The primitive.
        center: Centre (x, y, z), in metres.
        half: Half sizes along the primitive's own axes, in metres.
        material: Its surface.
        angles: Yaw, pitch, roll in radians, applied as Rz(yaw) Ry(pitch) Rx(roll).
        tint: Factor on the material's remission.
    """

    kind: Kind
    center: tuple[float, float, float]
    half: tuple[float, float, float]
    material: M
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tint: float = 1.0


def box(center: tuple[float, float, float], half: tuple[float, float, float], material: M, **more: Any) -> Part:
    """A box part."""
    return Part(Kind.BOX, center, half, material, **more)


def ellipsoid(center: tuple[float, float, float], half: tuple[float, float, float], material: M, **more: Any) -> Part:
    """An ellipsoid part."""
    return Part(Kind.ELLIPSOID, center, half, material, **more)


def upright(x: float, y: float, bottom: float, top: float, radius: float, material: M, **more: Any) -> Part:
    """A vertical cylinder from `bottom` to `top`, in metres."""
    half = (radius, radius, (top - bottom) / 2)
    return Part(Kind.CYLINDER, (x, y, (top + bottom) / 2), half, material, **more)


def wheel(x: float, y: float, radius: float, width: float, material: M = M.RUBBER) -> Part:
    """A cylinder with its axis across the thing, standing on the ground."""
    return Part(Kind.CYLINDER, (x, y, radius), (radius, radius, width / 2), material, (0.0, 0.0, np.pi / 2))


def rotation(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Float[np.ndarray, "3 3"]:
    """Rz(yaw) Ry(pitch) Rx(roll); a positive pitch turns x downwards."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


@dataclass(frozen=True)
class Solids:
    """Primitives as columns. `axes[i]` maps the primitive's own directions to the frame of `center`."""

    kind: Int[np.ndarray, " solids"]
    center: Float[np.ndarray, "solids 3"]
    half: Float[np.ndarray, "solids 3"]
    axes: Float[np.ndarray, "solids 3 3"]
    material: Int[np.ndarray, " solids"]
    tint: Float[np.ndarray, " solids"]
    instance: Int[np.ndarray, " solids"]

    @classmethod
    def assemble(cls, parts: Sequence[Part], instance: int | Sequence[int] = 0) -> Solids:
        """Columns from parts; `instance` is one id for all parts or one for each."""
        n = len(parts)
        return cls(
            kind=np.array([p.kind for p in parts], np.int64),
            center=np.array([p.center for p in parts], float).reshape(n, 3),
            half=np.array([p.half for p in parts], float).reshape(n, 3),
            axes=np.array([rotation(*p.angles) for p in parts]).reshape(n, 3, 3),
            material=np.array([p.material for p in parts], np.int64),
            tint=np.array([p.tint for p in parts], float),
            instance=np.broadcast_to(np.asarray(instance, np.int64), (n,)).copy(),
        )

    @classmethod
    def concat(cls, many: Sequence[Solids]) -> Solids:
        """All solids of a list, in order."""
        if not many:
            return cls.assemble([])
        return cls(*(np.concatenate([getattr(s, f.name) for s in many]) for f in fields(cls)))

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: np.ndarray) -> Solids:
        """The solids of some rows (indices or a mask)."""
        return Solids(*(getattr(self, f.name)[rows] for f in fields(self)))

    def placed(self, position: Float[np.ndarray, " 3"], turn: Float[np.ndarray, "3 3"]) -> Solids:
        """Moved from a thing's frame to an outer frame by `x -> turn @ x + position`."""
        return replace(self, center=self.center @ turn.T + position, axes=turn @ self.axes)

    def seen_from(self, position: Float[np.ndarray, " 3"], turn: Float[np.ndarray, "3 3"]) -> Solids:
        """In the frame of an observer at `position` whose axes are the columns of `turn`."""
        return replace(self, center=(self.center - position) @ turn, axes=turn.T @ self.axes)
