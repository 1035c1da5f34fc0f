"""Trees, bushes and hedges, by shape mode: soft bodies that let pulses in."""

from __future__ import annotations

import numpy as np

from clusterseg.synthetic.materials import M
from clusterseg.synthetic.solids import Kind, Part, box, ellipsoid, upright


def trunk(mode: str, height: float, rng: np.random.Generator) -> list[Part]:
    """A stem of a given height in metres, a little into the ground."""
    radius = {"straight": 0.13, "thick": 0.3, "forked": 0.14, "leaning": 0.12}[mode] * float(rng.uniform(0.8, 1.3))
    flare = Part(Kind.CONE, (0, 0, 0.1), (2.0 * radius, 2.0 * radius, 0.35), M.BARK)
    stem = upright(0, 0, -0.3, height, radius, M.BARK)
    if mode == "leaning":
        yaw = float(rng.uniform(0, 2 * np.pi))
        return [flare, stem._replace(angles=(yaw, 0.16, 0.0))]
    if mode == "forked":
        fork = min(0.4 * height, 1.2)
        reach, thin = (fork + height) / 2, (0.7 * radius, 0.7 * radius, (height - fork) / 2)
        arms = [Part(Kind.CYLINDER, (side * 0.28, 0, reach), thin, M.BARK, (0.0, side * 0.22, 0.0)) for side in (-1, 1)]
        return [flare, upright(0, 0, -0.3, fork, radius, M.BARK), *arms]
    return [flare, stem]


def crown(mode: str, bottom: float, rng: np.random.Generator) -> list[Part]:
    """The leaves of a tree ("broadleaf" or "conifer") from `bottom` metres upwards."""
    if mode == "conifer":
        height, radius = rng.uniform(5, 11), rng.uniform(1.1, 2.0)
        tiers = [(bottom + height * (k + 0.8) / 4, radius * (1 - k / 5)) for k in range(4)]
        return [Part(Kind.CONE, (0, 0, z), (r, r, height / 5), M.NEEDLES) for z, r in tiers]
    height, radius = rng.uniform(3, 6), rng.uniform(1.8, 3.4)
    clumps = int(rng.integers(6, 10))
    parts = []
    for angle in np.arange(clumps) * 2.4:
        out, size = radius * rng.uniform(0.2, 0.75), radius * rng.uniform(0.4, 0.6)
        z = bottom + rng.uniform(0.15, 0.8) * height
        parts.append(ellipsoid((out * np.cos(angle), out * np.sin(angle), z), (size, size, 0.8 * size), M.LEAVES))
    return parts


def bush(mode: str, rng: np.random.Generator) -> list[Part]:
    """Low growth around the origin: a "bush" of a few round clumps or a "scrub" of many small ones."""
    count, spread, size, material = {
        "bush": (int(rng.integers(3, 6)), 0.8, 0.9, M.LEAVES),
        "scrub": (int(rng.integers(7, 13)), 1.8, 0.5, M.SCRUB),
    }[mode]
    parts = []
    for _ in range(count):
        x, y = rng.normal(0, spread, 2)
        r = size * rng.uniform(0.6, 1.5)
        h = r * rng.uniform(0.8, 1.4)
        parts.append(ellipsoid((x, y, 0.6 * h), (r, r * rng.uniform(0.7, 1.2), h), material))
    return parts


def hedge(length: float, height: float, rng: np.random.Generator) -> list[Part]:
    """A clipped hedge along x, in slightly uneven pieces of a few metres; sizes in metres."""
    pieces = max(1, round(length / 3))
    half = length / pieces / 2
    return [
        box(
            (-length / 2 + (2 * k + 1) * half, float(rng.normal(0, 0.04)), height / 2 - 0.1),
            (half, float(rng.uniform(0.32, 0.5)), height / 2 + 0.1 + float(rng.normal(0, 0.05))),
            M.HEDGE,
        )
        for k in range(pieces)
    ]
