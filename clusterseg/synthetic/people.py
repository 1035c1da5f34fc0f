"""People, two-wheelers, and people on two-wheelers, by shape mode."""

from __future__ import annotations

import numpy as np

from clusterseg.synthetic.materials import M
from clusterseg.synthetic.solids import Kind, Part, box, ellipsoid, upright, wheel


def person(mode: str, rng: np.random.Generator) -> list[Part]:
    """Someone standing or in mid-stride, facing x."""
    height = {"adult": 1.75, "child": 1.2, "stroller": 1.7, "broad": 1.82}[mode] * float(rng.uniform(0.94, 1.06))
    broad = {"adult": 1.0, "child": 0.72, "stroller": 0.95, "broad": 1.4}[mode]
    parts = _figure(height, broad, 0.0, 0.0, float(rng.uniform(0, 0.45)))
    if mode == "stroller":
        parts += [
            box((0.85, 0, 0.65), (0.38, 0.24, 0.22), M.CLOTH, angles=(0.0, 0.25, 0.0)),
            *(wheel(0.85 + x, y, 0.11, 0.05) for x in (-0.28, 0.28) for y in (-0.24, 0.24)),
        ]
    if mode == "broad":
        parts.append(box((-0.28, 0, 0.72 * height), (0.15, 0.22, 0.27), M.CLOTH))
    return parts


def _figure(height: float, broad: float, x: float, lean: float, stride: float) -> list[Part]:
    """Head, trunk, arms and two legs; `lean` and `stride` are angles in radians."""
    hip, neck = 0.48 * height, 0.84 * height
    torso = (neck - hip) / 2
    shift = x + np.sin(lean) * torso
    leg = hip / 2
    return [
        ellipsoid((x + 2.3 * np.sin(lean) * torso, 0, 0.92 * height), (0.11, 0.09, 0.13), M.CLOTH, tint=1.1),
        Part(Kind.ELLIPSOID, (shift, 0, hip + torso), (0.15 * broad, 0.23 * broad, 1.2 * torso), M.CLOTH,
             (0.0, lean, 0.0)),
        *(
            Part(Kind.CYLINDER, (shift, side * 0.25 * broad, hip + torso), (0.05, 0.05, torso), M.CLOTH,
                 (0.0, lean - side * stride, 0.0))
            for side in (-1, 1)
        ),
        *(
            Part(Kind.CYLINDER, (x + side * np.sin(stride) * leg, side * 0.1 * broad, leg),
                 (0.085 * broad, 0.085 * broad, leg), M.CLOTH, (0.0, -side * stride, 0.0), 0.8)
            for side in (-1, 1)
        ),
    ]  # fmt: skip


def bicycle(mode: str, rng: np.random.Generator) -> list[Part]:
    """A bicycle pointing along x."""
    radius = {"city": 0.34, "mountain": 0.36, "cargo": 0.28, "child": 0.22}[mode] * float(rng.uniform(0.96, 1.04))
    base = {"city": 0.54, "mountain": 0.56, "cargo": 0.85, "child": 0.36}[mode]
    top = 2.1 * radius + 0.1
    middle = (-base * 0.2, 0.0, (radius + top) / 2)
    parts = [
        wheel(base, 0, radius, 0.05, M.SPOKES),
        wheel(-base, 0, radius, 0.05, M.SPOKES),
        box((0, 0, radius + 0.18), (base * 0.7, 0.025, 0.03), M.STEEL),
        box(middle, (0.03, 0.025, (top - radius) / 2 + 0.1), M.STEEL, angles=(0.0, -0.3, 0.0)),
        box((base * 0.8, 0, (radius + top) / 2 + 0.1), (0.03, 0.025, (top - radius) / 2 + 0.12), M.STEEL,
            angles=(0.0, -0.25, 0.0)),
        box((base * 0.7, 0, top + 0.15), (0.03, 0.3 if mode == "mountain" else 0.24, 0.025), M.STEEL),
        box((-base * 0.4, 0, top + 0.1), (0.13, 0.07, 0.04), M.RUBBER),
    ]  # fmt: skip
    if mode == "cargo":
        parts.append(box((base * 0.35, 0, 0.5), (0.4, 0.28, 0.25), M.WOOD))
    if mode == "city":
        parts.append(box((-base, 0, top + 0.02), (0.2, 0.1, 0.06), M.STEEL))
    return parts


def motorcycle(mode: str, rng: np.random.Generator) -> list[Part]:
    """A powered two-wheeler pointing along x."""
    scale, tint = float(rng.uniform(0.95, 1.05)), float(rng.uniform(0.4, 1.3))
    base, radius, seat = {
        "scooter": (0.62, 0.22, 0.78),
        "naked": (0.7, 0.31, 0.8),
        "cruiser": (0.85, 0.33, 0.68),
    }[mode]
    base *= scale
    parts = [
        wheel(base, 0, radius, 0.12),
        wheel(-base, 0, radius, 0.16),
        ellipsoid((-0.35 * base, 0, seat - 0.12), (0.75 * base, 0.16, 0.16), M.CAR_PAINT, tint=tint),
        box((base * 0.75, 0, 0.65), (0.05, 0.07, 0.4), M.STEEL, angles=(0.0, -0.4, 0.0)),
        box((base * 0.6, 0, 1.03), (0.04, 0.36, 0.035), M.STEEL),
        box((-base * 1.15, 0, 0.5), (0.01, 0.09, 0.06), M.PLATE),
    ]
    if mode == "scooter":
        return [
            *parts,
            box((base * 0.62, 0, 0.65), (0.04, 0.22, 0.35), M.CAR_PAINT, tint=tint, angles=(0.0, -0.2, 0.0)),
            box((-base * 0.9, 0, 1.0), (0.18, 0.2, 0.16), M.CAR_PAINT, tint=tint),
        ]
    engine = ellipsoid((0.05, 0, 0.45), (0.35, 0.2, 0.22), M.STEEL)
    tank = ellipsoid((0.25 * base, 0, seat + 0.1), (0.3, 0.15, 0.13), M.CAR_PAINT, tint=tint)
    bags = [box((-base, y, 0.5), (0.25, 0.1, 0.16), M.RUBBER) for y in (-0.28, 0.28)]
    return [*parts, engine, tank] + (bags if mode == "cruiser" else [])


def bicyclist(mode: str, rng: np.random.Generator) -> list[Part]:
    """Someone riding a bicycle."""
    lean = {"upright": 0.1, "racer": 0.75, "cargo": 0.15}[mode]
    ride = {"upright": "city", "racer": "mountain", "cargo": "cargo"}[mode]
    return [*bicycle(ride, rng), *_rider(0.35, lean, 0.9)]


def motorcyclist(mode: str, rng: np.random.Generator) -> list[Part]:
    """Someone riding a powered two-wheeler."""
    lean = {"scooter": 0.05, "naked": 0.45, "cruiser": -0.1}[mode]
    return [*motorcycle(mode, rng), *_rider(0.28, lean, 1.1)]


def _rider(lift: float, lean: float, broad: float) -> list[Part]:
    """A seated figure, its hip behind the middle of the ride."""
    seated = _figure(1.55, broad, -0.2, lean, 0.5)
    raised = [p._replace(center=(p.center[0], p.center[1], p.center[2] + lift)) for p in seated]
    return [*raised, upright(0.3, 0.2, 0.95 + lift / 2, 1.1 + lift / 2, 0.05, M.CLOTH)]
