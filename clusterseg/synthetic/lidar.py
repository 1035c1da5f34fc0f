"""The spinning lidar: directions of its beams and measurement of their hits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from clusterseg.synthetic.materials import TABLE
from clusterseg.synthetic.view import View

MIN_RANGE = 2.2
_GOLDEN = 0.6180339887


def hdl64_elevations() -> Float[np.ndarray, " 64"]:
    """Beam elevations of the HDL-64E in radians, from the top: +2..-8.33 by 1/3, -8.83..-24.33 by 1/2 degree."""
    upper, lower = 2.0 - np.arange(32) / 3, -8.83 - np.arange(32) / 2
    return np.deg2rad(np.concatenate([upper, lower]))


@dataclass(frozen=True)
class Lidar:
    """A lidar that turns once per scan, level with the vehicle: x forward, y left, z up, origin at the sensor.

    Attributes:
        beams: 64, 32 or 16; fewer beams have the same field of view and take every second or fourth one.
        azimuths: Firings per turn.
        max_range: In metres.
        noise: Standard deviation of a measured range, in metres.
    """

    beams: int = 64
    azimuths: int = 2000
    max_range: float = 80.0
    noise: float = 0.01

    @cached_property
    def elevations(self) -> Float[np.ndarray, " beams"]:
        """In radians, descending."""
        return hdl64_elevations()[:: 64 // self.beams]

    @cached_property
    def directions(self) -> Float[np.ndarray, "beams azimuths 3"]:
        """Unit vectors. Each beam has its own azimuth offset within half a step, as the real lasers do."""
        step = 2 * np.pi / self.azimuths
        offset = ((np.arange(self.beams) * _GOLDEN) % 1 - 0.5) * step
        azimuth = np.arange(self.azimuths) * step + offset[:, None]
        el = self.elevations[:, None]
        parts = np.cos(el) * np.cos(azimuth), np.cos(el) * np.sin(azimuth), np.sin(el) + 0 * azimuth
        return np.stack(parts, -1).astype(np.float32)

    def remission(
        self, view: View, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "beams azimuths"], Bool[np.ndarray, "beams azimuths"]]:
        """Return the remission of each pulse, and a mask of the pulses that return.

        Diffuse surfaces return with the cosine of the incidence angle, softened because rough ground at grazing
        angles still faces the sensor with its grains.

        Args:
            view: What each ray hit.
            rng: Source of the pulse-to-pulse variation.

        Returns:
            Remission in [0, 1], in steps of 0.01, and whether there is a return at all.
        """
        shape = view.depth.shape
        m = view.material
        cos = np.clip(view.cosine, 0.02, 1)
        seen = np.isfinite(view.depth) & (view.depth > MIN_RANGE) & (view.depth < self.max_range)
        value = TABLE["remission"][m] * view.tint * (0.8 + 0.2 * np.sqrt(cos))
        value *= 1 + TABLE["spread"][m] * rng.standard_normal(shape, np.float32)
        faint = (1 - cos) ** 6
        dark = rng.random(shape, np.float32) < TABLE["dark"][m] + 0.2 * faint
        value = np.where(dark, 0, np.clip(value, 0, 0.99))
        far = np.clip(view.depth / self.max_range, 0, 1) ** 2
        loss = TABLE["loss"][m] * (1 + 1.5 * faint) + 0.1 * far + 0.03 * faint
        returned = seen & (rng.random(shape, np.float32) >= loss)
        return np.round(value, 2).astype(np.float32), returned

    def measure(
        self, view: View, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "points 4"], Int[np.ndarray, " points"]]:
        """One scan: points (x, y, z in metres, remission in [0, 1]) and the instance id of each, beam by beam.

        Range noise moves a point along its ray, never across; stray returns get instance 0.
        """
        value, returned = self.remission(view, rng)
        shape = view.depth.shape
        true = np.where(returned, view.depth, 0).astype(np.float32)
        depth = true + self.noise * rng.standard_normal(shape, np.float32)
        depth -= TABLE["rough"][view.material] * np.abs(rng.standard_normal(shape, np.float32))
        depth, stray = self._strays(true, depth, rng)
        instance = np.where(stray, 0, view.instance)
        value = np.where(stray, value * (rng.random(shape, np.float32) < 0.2), value)
        points = np.concatenate([self.directions * depth[..., None], value[..., None]], -1)[returned]
        return points.astype(np.float32), instance[returned]

    def _strays(self, true: np.ndarray, depth: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Mixed pulses at the edges of things, half on the edge and half behind it, and a few ghosts anywhere."""
        behind = np.roll(true, 1, axis=1)
        edge = (behind > 0) & (true > 0) & (np.abs(behind - true) > 1.0)
        stray = edge & (rng.random(true.shape, np.float32) < 0.4)
        mix = rng.random(true.shape, np.float32)
        depth = np.where(stray, true + (behind - true) * mix, depth)
        ghost = ~stray & (rng.random(true.shape, np.float32) < 0.018)
        return np.where(ghost, true * (0.5 + 0.5 * mix), depth), stray | ghost
