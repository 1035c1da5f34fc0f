"""The character of a town: widths of its streets and the objects along them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOTS: tuple[str, ...] = ("terrace", "house", "estate", "yard", "park", "wood", "field", "plaza", "carpark")
"""Kinds of lot beside a road, in the order of `Character.lots`."""


@dataclass(frozen=True)
class Character:
    """Numbers that make one kind of town. Lengths in metres, speeds in metres per second, rates per metre of road.

    Attributes:
        lots: Weight of each kind of lot, in the order of `LOTS`.
        half_width: Of the main carriageway.
        lanes: Of the main road, both directions together.
        parking: Chance that a block has a parking lane.
        pavement: Range of the pavement's width; a block has none with chance `bare`.
        bare: See `pavement`.
        verge: Chance of a strip of grass between carriageway and pavement.
        bank: Standard deviation of how high lots rise from the road.
        hills: Amplitude of the hills.
        bend: Largest turn of the main road, in radians.
        crossing: Range of the distance between side roads.
        speed: Of the ego vehicle.
        traffic: Vehicles under way.
        walkers: People under way.
    """

    lots: tuple[float, ...]
    half_width: float = 4.2
    lanes: int = 2
    parking: float = 0.4
    pavement: tuple[float, float] = (1.6, 3.2)
    bare: float = 0.1
    verge: float = 0.25
    bank: float = 0.5
    hills: float = 1.2
    bend: float = 0.6
    crossing: tuple[float, float] = (45.0, 90.0)
    speed: float = 8.0
    traffic: float = 0.008
    walkers: float = 0.012


CHARACTERS: dict[str, Character] = {
    "centre": Character(
        lots=(0.24, 0.14, 0.16, 0.03, 0.2, 0.05, 0.0, 0.1, 0.08),
        parking=0.45, pavement=(2.4, 4.5), bare=0.0, verge=0.3, bank=0.3, hills=1.0, walkers=0.02,
    ),
    "suburb": Character(
        lots=(0.04, 0.46, 0.05, 0.03, 0.16, 0.16, 0.05, 0.01, 0.04),
        half_width=4.0, parking=0.25, verge=0.4, bank=0.8, hills=2.5, bend=0.9,
    ),
    "outskirts": Character(
        lots=(0.01, 0.16, 0.04, 0.09, 0.16, 0.34, 0.15, 0.01, 0.04),
        half_width=4.2, parking=0.08, bare=0.35, verge=0.5, bank=1.1, hills=3.0, crossing=(70.0, 120.0), speed=10.0,
        walkers=0.008,
    ),
    "trunk road": Character(
        lots=(0.0, 0.03, 0.02, 0.08, 0.1, 0.45, 0.31, 0.0, 0.01),
        half_width=7.4, lanes=4, parking=0.01, bare=0.85, verge=0.6, bank=1.6, hills=3.5, bend=0.35,
        crossing=(110.0, 190.0), speed=14.0, traffic=0.015, walkers=0.004,
    ),
}  # fmt: skip
"""By name."""


def narrow_character(rng: np.random.Generator) -> Character:
    """An old quarter: narrow streets between wide pavements, with houses and their forecourts close by."""
    return Character(
        lots=(0.25, 0.35, 0.08, 0.03, 0.14, 0.06, 0.0, 0.04, 0.05),
        half_width=float(rng.uniform(2.4, 3.6)), parking=0.2, pavement=(1.6, 7.0), bare=0.0, verge=0.15, hills=2.0,
        bend=0.8, crossing=(40.0, 80.0), speed=6.0,
    )  # fmt: skip


_SHARES = {
    "train": (0.3, 0.38, 0.22, 0.1),
    "val": (0.25, 0.35, 0.28, 0.12),
    "test": (0.25, 0.25, 0.25, 0.25),
}


def draw_character(town: str, rng: np.random.Generator) -> Character:
    """The character of a "train", "val" or "test" town."""
    names = list(CHARACTERS)
    return CHARACTERS[names[int(rng.choice(len(names), p=_SHARES[town]))]]
