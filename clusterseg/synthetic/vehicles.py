"""Cars, trucks, buses and other vehicles on more than two wheels, by shape mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clusterseg.synthetic.labels import Raw
from clusterseg.synthetic.materials import M
from clusterseg.synthetic.solids import Kind, Part, box, ellipsoid, upright, wheel

# length, width, height, bonnet share, boot share, belt line share of the height
_CARS: dict[str, tuple[float, float, float, float, float, float]] = {
    "hatchback": (3.9, 1.70, 1.48, 0.24, 0.03, 0.60),
    "saloon": (4.7, 1.80, 1.42, 0.26, 0.20, 0.62),
    "estate": (4.8, 1.82, 1.48, 0.25, 0.00, 0.61),
    "suv": (4.6, 1.90, 1.75, 0.22, 0.02, 0.64),
    "van": (5.1, 1.96, 2.05, 0.12, 0.00, 0.66),
    "sports": (4.3, 1.84, 1.22, 0.34, 0.16, 0.66),
}


def _size(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.94, 1.06))


def car(mode: str, rng: np.random.Generator) -> list[Part]:
    """A car: body with rounded ends, glazed cabin under a roof, four wheels."""
    length, width, height, bonnet, boot, belt = np.array(_CARS[mode]) * ([_size(rng)] * 3 + [1.0] * 3)
    tint = float(rng.choice([0.25, 0.7, 1.0, 1.5], p=[0.3, 0.25, 0.25, 0.2]))
    floor, waist, radius = 0.16 * height, belt * height, 0.21 * height
    rear, front = (-0.5 + boot) * length, (0.5 - bonnet) * length
    slant = 0.13 * length if mode != "van" else 0.06 * length
    roof_half = max((front - slant - rear - (slant if boot > 0.1 else 0.04)) / 2, 0.4)
    roof_mid = front - slant - roof_half
    y = width / 2
    body = (waist - floor) / 2
    parts = [
        box((0, 0, floor + body), (0.46 * length, y, body), M.CAR_PAINT, tint=tint),
        ellipsoid((0.43 * length, 0, floor + 0.9 * body), (0.08 * length, y, body), M.CAR_PAINT, tint=tint),
        ellipsoid((-0.43 * length, 0, floor + 0.9 * body), (0.08 * length, y, body), M.CAR_PAINT, tint=tint),
        box((roof_mid, 0, (waist + height) / 2), (roof_half, 0.86 * y, (height - waist) / 2), M.GLASS),
        box((roof_mid, 0, height - 0.04), (roof_half, 0.84 * y, 0.05), M.CAR_PAINT, tint=tint),
        _pane(front, front - slant, waist, height, 0.84 * y),
        _pane(rear, roof_mid - roof_half, waist, height, 0.84 * y),
        box((-0.505 * length, 0, 0.45 * height), (0.01, 0.26, 0.06), M.PLATE),
        box((0.505 * length, 0, 0.3 * height), (0.01, 0.26, 0.06), M.PLATE),
    ]
    return parts + _wheels((0.31 * length, -0.30 * length), y - 0.08, radius)


def _pane(low_x: float, high_x: float, low: float, high: float, half_width: float) -> Part:
    """A slanted pane from (low_x, low) to (high_x, high)."""
    run, rise = high_x - low_x, high - low
    pitch = -float(np.arctan2(rise, run))
    middle = ((low_x + high_x) / 2, 0.0, (low + high) / 2 - 0.02)
    half = (float(np.hypot(run, rise)) / 2, half_width, 0.03)
    return box(middle, half, M.GLASS, angles=(0.0, pitch, 0.0))


def _wheels(axles: tuple[float, ...], y: float, radius: float) -> list[Part]:
    return [wheel(x, side * y, radius, 0.2) for x in axles for side in (-1, 1)]


def truck(mode: str, rng: np.random.Generator) -> list[Part]:
    """A truck: cab, frame, and a body by mode."""
    scale, tint = _size(rng), float(rng.uniform(0.5, 1.4))
    length, y = 8.0 * scale, 1.22
    cab = [
        box((length / 2 - 1.0, 0, 1.75), (1.0, y, 1.15), M.SHEET, tint=tint),
        box((length / 2 + 0.01, 0, 2.2), (0.02, 1.05, 0.45), M.GLASS),
        box((-0.5, 0, 0.85), (length / 2 - 0.6, 0.5, 0.18), M.STEEL),
    ]
    back, mid = (length - 2.3) / 2, -1.15
    bodies = {
        "box": [box((mid, 0, 2.2), (back, 1.25, 1.25), M.SHEET, tint=1.2)],
        "flatbed": [
            box((mid, 0, 1.15), (back, 1.25, 0.12), M.WOOD),
            box((mid - 0.6, 0.1, 1.6), (back * 0.55, 0.9, 0.35), M.WALL),
        ],
        "tanker": [Part(Kind.CYLINDER, (mid, 0, 2.1), (1.1, 1.1, back), M.STEEL, (0.0, np.pi / 2, 0.0), 1.3)],
        "tipper": [
            box((mid, 1.15, 1.8), (back * 0.9, 0.06, 0.7), M.STEEL, angles=(0.0, 0.0, -0.15)),
            box((mid, -1.15, 1.8), (back * 0.9, 0.06, 0.7), M.STEEL, angles=(0.0, 0.0, 0.15)),
            ellipsoid((mid, 0, 1.5), (back * 0.85, 1.05, 1.0), M.GRAVEL),
        ],
    }
    return cab + bodies[mode] + _wheels((length / 2 - 1.1, -length / 2 + 1.0, -length / 2 + 2.1), y - 0.12, 0.5)


def other_vehicle(mode: str, rng: np.random.Generator) -> list[Part]:
    """A bus, trailer, caravan, tractor or tram."""
    scale, tint = _size(rng), float(rng.uniform(0.6, 1.4))
    builders: dict[str, Callable[[], list[Part]]] = {
        "bus": lambda: _coach(11.5 * scale, 3.0, tint, wheels=True),
        "tram": lambda: _coach(20.0 * scale, 3.4, tint, wheels=False),
        "trailer": lambda: [
            box((0, 0, 0.75), (1.3 * scale, 0.8, 0.28), M.SHEET, tint=tint),
            box((1.8 * scale, 0, 0.5), (0.6, 0.05, 0.05), M.STEEL),
            *_wheels((0.0,), 0.85, 0.3),
        ],
        "caravan": lambda: [
            box((0, 0, 1.5), (2.3 * scale, 1.1, 1.05), M.SHEET, tint=1.3),
            ellipsoid((2.2 * scale, 0, 1.4), (0.6, 1.05, 0.95), M.SHEET, tint=1.3),
            box((0.4, 1.1, 1.8), (0.6, 0.02, 0.3), M.GLASS),
            box((3.1 * scale, 0, 0.5), (0.6, 0.05, 0.05), M.STEEL),
            *_wheels((-0.2,), 1.0, 0.32),
        ],
        "tractor": lambda: [
            box((1.0, 0, 1.25), (1.0, 0.4, 0.4), M.SHEET, tint=tint),
            box((-0.6, 0, 2.0), (0.7, 0.75, 0.7), M.GLASS),
            box((-0.6, 0, 2.75), (0.75, 0.8, 0.08), M.SHEET, tint=tint),
            *_wheels((-0.8,), 0.95, 0.8),
            *_wheels((1.5,), 0.8, 0.5),
        ],
    }
    return builders[mode]()


def other_vehicle_raw(mode: str) -> Raw:
    """Buses and trams have ids of their own."""
    return {"bus": Raw.BUS, "tram": Raw.ON_RAILS}.get(mode, Raw.OTHER_VEHICLE)


def _coach(length: float, height: float, tint: float, wheels: bool) -> list[Part]:
    half = length / 2
    skirt, band = (0.3, 1.25), (1.25, 2.35)
    parts = [
        box((0, 0, sum(skirt) / 2), (half, 1.27, (skirt[1] - skirt[0]) / 2), M.SHEET, tint=tint),
        box((0, 0, sum(band) / 2), (half - 0.03, 1.23, (band[1] - band[0]) / 2), M.GLASS),
        box((0, 0, (band[1] + height) / 2), (half, 1.27, (height - band[1]) / 2), M.SHEET, tint=tint),
    ]
    posts = [
        upright(x, side * 1.24, *band, 0.07, M.SHEET) for x in np.arange(-half + 0.1, half, 1.6) for side in (-1, 1)
    ]
    return parts + posts + (_wheels((half - 2.6, -half + 3.0), 1.18, 0.48) if wheels else [])
