"""The road network of a town: a winding main road and the side roads that cross it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clusterseg.synthetic.character import LOTS, Character
from clusterseg.synthetic.labels import Raw
from clusterseg.synthetic.modes import ModeRegister
from clusterseg.synthetic.roads import Blocks, Road, winding_curve
from clusterseg.synthetic.styles import Styles

_SIDE_LENGTH = 190.0
_BLOCK = (12.0, 32.0)


def lay_roads(
    character: Character, length: float, styles: Styles, rng: np.random.Generator
) -> tuple[list[Road], list[list[list[str]]]]:
    """The roads of a town, the main road first, and the kind of lot of each block.

    Args:
        character: Of the town.
        length: Of the main road, in metres.
        styles: Registry of the ground styles.
        rng: Of the town.

    Returns:
        The roads, and `kinds[road][side][block]` with side 0 to the right and 1 to the left.
    """
    share = rng.dirichlet((2, 2, 1))
    waves = [(character.bend * share[k], rng.uniform(70, 130) * (k + 1), rng.uniform(0, 6.3)) for k in range(3)]
    main = winding_curve(length, (0.0, 0.0, 0.0), np.array(waves))
    road, kinds = _line(main, character, character.half_width, character.lanes, styles, rng)
    roads, all_kinds = [road], [kinds]
    at = 100.0 + rng.uniform(5, 35)
    while at < length - 40:
        x, y, heading = road.at(at)
        heading += np.pi / 2 + rng.uniform(-0.25, 0.25)
        waves = [(rng.uniform(0, 0.25), rng.uniform(120, 260), rng.uniform(0, 6.3))]
        curve = _through(winding_curve(_SIDE_LENGTH, (0.0, 0.0, 0.0), np.array(waves)), x, y, heading)
        side, kinds = _line(curve, character, float(rng.uniform(2.6, 3.6)), int(rng.choice([0, 2])), styles, rng)
        roads.append(side)
        all_kinds.append(kinds)
        at += rng.uniform(*character.crossing)
    return roads, all_kinds


def _through(curve: tuple[np.ndarray, np.ndarray], x: float, y: float, heading: float) -> tuple[np.ndarray, np.ndarray]:
    """The curve moved so that its middle vertex lies at a place and points in a direction."""
    xy, headings = curve
    middle = len(xy) // 2
    turn = heading - headings[middle]
    cos, sin = np.cos(turn), np.sin(turn)
    moved = (xy - xy[middle]) @ np.array([[cos, sin], [-sin, cos]]) + (x, y)
    return moved, headings + turn


def _line(
    curve: tuple[np.ndarray, np.ndarray],
    character: Character,
    half_width: float,
    lanes: int,
    styles: Styles,
    rng: np.random.Generator,
) -> tuple[Road, list[list[str]]]:
    """A road along a curve with blocks on both sides."""
    mode = styles.register.draw("road", rng)
    right, right_kinds = _blocks(len(curve[0]) - 1, character, styles, rng)
    left, left_kinds = _blocks(len(curve[0]) - 1, character, styles, rng)
    road = Road(
        xy=curve[0],
        heading=curve[1],
        half_width=half_width,
        style=styles.get(Raw.ROAD, mode),
        marking_style=styles.get(Raw.LANE_MARKING, mode),
        lanes=0 if mode == "cobble" else lanes,
        left=left,
        right=right,
    )
    return road, [right_kinds, left_kinds]


def _blocks(length: float, character: Character, styles: Styles, rng: np.random.Generator) -> tuple[Blocks, list[str]]:
    """One side of a road. Pavement and verge change slowly: each third block draws them anew."""
    starts = np.concatenate([[0.0], np.cumsum(rng.uniform(*_BLOCK, int(length / _BLOCK[0]) + 2))])
    starts = starts[starts < length]
    kinds = [str(kind) for kind in rng.choice(LOTS, len(starts), p=np.array(character.lots) / sum(character.lots))]
    draw = _drawer(styles.register, rng)
    columns: dict[str, list[float]] = {name: [] for name in Blocks.__dataclass_fields__ if name != "start"}
    for i, kind in enumerate(kinds):
        if i % 3 == 0:
            pavement = 0.0 if rng.random() < character.bare else float(rng.uniform(*character.pavement))
            verge = float(rng.uniform(0.8, 2.2)) if rng.random() < character.verge else 0.0
            pavement_style = styles.get(Raw.SIDEWALK, draw("sidewalk"))
            verge_style = styles.get(Raw.TERRAIN, draw("terrain", ("lawn", "meadow", "soil")))
        columns["pavement"].append(pavement)
        columns["verge"].append(verge if pavement else 0.0)
        columns["pavement_style"].append(pavement_style)
        columns["verge_style"].append(verge_style)
        columns["parking"].append(2.2 if rng.random() < character.parking else 0.0)
        columns["parking_style"].append(styles.get(Raw.PARKING, draw("parking")))
        columns["bank"].append(0.0 if kind in _LEVEL else float(rng.normal(0.0, character.bank)))
        columns["lot_style"].append(_lot_style(kind, pavement_style, styles, draw, rng))
    ints = {name: np.array(v, int) for name, v in columns.items() if name.endswith("style")}
    floats = {name: np.array(v, float) for name, v in columns.items() if not name.endswith("style")}
    return Blocks(start=starts, **ints, **floats), kinds


_LEVEL = ("terrace", "plaza", "carpark", "yard", "estate")


def _drawer(register: ModeRegister, rng: np.random.Generator) -> Callable[..., str]:
    def draw(class_name: str, only: tuple[str, ...] = ()) -> str:
        return register.draw(class_name, rng, only)

    return draw


def _lot_style(
    kind: str, pavement_style: int, styles: Styles, draw: Callable[..., str], rng: np.random.Generator
) -> int:
    """The ground of a lot."""
    if kind == "terrace":
        return pavement_style
    if kind == "carpark":
        return styles.get(Raw.PARKING, draw("parking"))
    if kind == "plaza":
        return styles.get(Raw.OTHER_GROUND, draw("other-ground"))
    if kind == "yard":
        return styles.get(Raw.OTHER_GROUND, draw("other-ground", ("gravel", "track")))
    wild = ("meadow", "tussock", "soil") if kind in ("wood", "field") else ("lawn", "meadow", "soil")
    return styles.get(Raw.TERRAIN, draw("terrain", wild))
