"""A town: the world of one sequence, built from two numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from clusterseg.synthetic.character import Character, draw_character, narrow_character
from clusterseg.synthetic.ground import Ground, LocalGround
from clusterseg.synthetic.kerbside import line_kerb
from clusterseg.synthetic.lots import Lot, fill_lot, put_hoarding
from clusterseg.synthetic.materials import M
from clusterseg.synthetic.modes import ModeRegister
from clusterseg.synthetic.network import lay_roads
from clusterseg.synthetic.roads import Road
from clusterseg.synthetic.site import Site
from clusterseg.synthetic.solids import Kind, Part, Solids, box, rotation
from clusterseg.synthetic.styles import Styles
from clusterseg.synthetic.traffic import Mover, start_traffic

MARGIN = 100.0
SENSOR_HEIGHT = 1.73
# roof and bars under the sensor, in its frame: too near to be measured, but they shadow the ground around the vehicle
_EGO = Solids.assemble(
    [
        Part(Kind.CYLINDER, (-0.05, 0, -0.34), (0.77, 0.5, 0.05), M.CAR_PAINT),
        box((-0.75, 0.4, -0.3), (0.04, 0.05, 0.05), M.STEEL),
        box((-0.7, -0.42, -0.31), (0.04, 0.07, 0.05), M.STEEL),
        box((0.1, -0.62, -0.33), (0.07, 0.05, 0.07), M.STEEL),
    ]
)
_SWAY = (0.006, 0.004)
_VALIDATION = (8,)
_TEST_FROM = 11
_TEST_LAST = 21


class Ego(NamedTuple):
    """Sensor position and sensor axes (columns) in the world frame, in metres, and the ground around it."""

    position: Float[np.ndarray, " 3"]
    axes: Float[np.ndarray, "3 3"]
    ground: LocalGround


@dataclass(frozen=True)
class Town:
    """The world of one sequence.

    Attributes:
        character: Of the town.
        ground: Roads and relief.
        solids: Everything that stands, in the world frame.
        movers: Everything that moves.
        register: Instance ids and their modes.
    """

    character: Character
    ground: Ground
    solids: Solids
    movers: list[Mover]
    register: ModeRegister

    def ego(self, time: float) -> Ego:
        """The sensor at a time in seconds.

        The vehicle keeps to its lane; its axes follow the slope of the ground under its wheels,
        and it sways a little on its springs.
        """
        main = self.ground.roads[0]
        lane = -main.half_width / max(main.lanes, 1)
        x, y, heading = main.at(MARGIN + self.character.speed * time, lane)
        ground = self.ground.around(np.array([x, y]), 96.0)
        forward = np.array([np.cos(heading), np.sin(heading)])
        left = np.array([-forward[1], forward[0]])
        front, rear, port, starboard = ground.height(
            np.array([x, y]) + np.stack([1.4 * forward, -1.4 * forward, 0.8 * left, -0.8 * left])
        )
        pitch = -np.arctan2(front - rear, 2.8) + _SWAY[0] * np.sin(3.7 * time)
        roll = np.arctan2(port - starboard, 1.6) + _SWAY[1] * np.sin(5.3 * time + 1)
        turn = rotation(heading, pitch, roll)
        base = np.array([x, y, (front + rear + port + starboard) / 4])
        return Ego(base + SENSOR_HEIGHT * turn[:, 2], turn, ground)

    def pose(self, time: float) -> Float[np.ndarray, "4 4"]:
        """Sensor frame to world frame at a time in seconds."""
        pose = np.eye(4)
        pose[:3, 3], pose[:3, :3], _ = self.ego(time)
        return pose

    def around(self, ego: Ego, time: float, radius: float) -> Solids:
        """All solids within `radius` metres of the ego vehicle at a time, in the sensor frame."""
        position, turn, ground = ego
        near = np.abs(self.solids.center[:, :2] - position[:2]).max(1) < radius + self.solids.half.max(1)
        here = [self.solids.take(near)]
        for mover in self.movers:
            where, axes = mover.placed(self.ground.roads, ground, time)
            distance = np.linalg.norm(where[:2] - position[:2])
            if 4.0 < distance < radius:
                here.append(mover.solids.placed(where, axes))
        return Solids.concat([*(s.seen_from(position, turn) for s in here), _EGO])


def town_kind(sequence: int) -> str:
    """ "val" for sequence 08, "test" for 11 to 21, else "train": the split of SemanticKITTI; from 22 on by turns."""
    if sequence > _TEST_LAST:
        return ("train", "val", "test")[sequence % 3]
    return "val" if sequence in _VALIDATION else "test" if sequence >= _TEST_FROM else "train"


def build_town(seed: int, sequence: int, seconds: float, hoardings: float = 0.0, narrow: float = 0.0) -> Town:
    """The town of a sequence; the same arguments give the same town on any machine.

    Args:
        seed: Of the data set.
        sequence: 0 to 99.
        seconds: How long the drive lasts; the main road is long enough for it.
        hoardings: Chance that a block has a tall closed fence at its edge; the town is the same but for them.
        narrow: Chance that the town has narrow streets and wide pavements.
    """
    rng = np.random.default_rng([seed, sequence])
    kind = town_kind(sequence)
    register = ModeRegister(kind)
    styles = Styles(register)
    character = draw_character(kind, rng)
    quarter = np.random.default_rng([seed, sequence, 0, 2])
    if quarter.random() < narrow:
        character = narrow_character(quarter)
    roads, kinds = lay_roads(character, 2 * MARGIN + character.speed * seconds, styles, rng)
    ground = Ground(roads, _hills(character.hills, rng), styles.table())
    site = Site(ground, register)
    for r, road in enumerate(roads):
        for side in (0, 1):
            _line_road(site, road, side, kinds[r][side], [seed, sequence, 1 + r, side], hoardings)
    movers = start_traffic(roads, character, MARGIN, register, rng)
    return Town(character, ground, site.solids(), movers, register)


def _line_road(site: Site, road: Road, side: int, kinds: list[str], key: list[int], hoardings: float) -> None:
    blocks = road.left if side else road.right
    stops = np.append(blocks.start[1:], road.length)
    for k, kind in enumerate(kinds):
        rng = np.random.default_rng([*key, k])
        lot = Lot(road, 1 if side else -1, float(blocks.start[k]), float(stops[k]), float(blocks.lot_edge[k]))
        line_kerb(site, lot, blocks, k, rng)
        fill_lot(site, lot, kind, rng)
        more = np.random.default_rng([*key, k, 1])
        if more.random() < hoardings:
            put_hoarding(site, lot, more)


def _hills(amplitude: float, rng: np.random.Generator) -> Float[np.ndarray, "waves 4"]:
    """A few long waves and some short, low ones."""
    waves = []
    for length, share in ((260, 0.6), (150, 0.3), (90, 0.12), (23, 0.02), (9, 0.006)):
        angle = rng.uniform(0, 2 * np.pi)
        k = 2 * np.pi / (length * rng.uniform(0.8, 1.2))
        waves.append((amplitude * share, k * np.cos(angle), k * np.sin(angle), rng.uniform(0, 2 * np.pi)))
    return np.array(waves)
