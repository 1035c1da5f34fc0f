"""Instance cut-mix again, one point and one cell at a time, on dictionaries of cells."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from clusterseg.data.augment.instances import InstanceBank
from clusterseg.data.augment.labelled import LabelledScan

Cell = tuple[int, int]
REACH, CELL, SUPPORT = 50.0, 0.4, 0.5


class SlowSurroundings:
    """Heights of ground points, and of all others, by cell."""

    def __init__(self, points: np.ndarray, is_ground: list[bool]) -> None:
        self.ground: dict[Cell, list[float]] = defaultdict(list)
        self.others: dict[Cell, list[float]] = defaultdict(list)
        for (x, y, z), ground in zip(points[:, :3].tolist(), is_ground, strict=True):
            if (cell := cell_of(x, y)) is not None:
                (self.ground if ground else self.others)[cell].append(z)

    def ground_under(self, thing: np.ndarray) -> float | None:
        xyz = thing[:, :3].tolist()
        cells = {cell_of(x, y) for x, y, _ in xyz}
        if None in cells:
            return None
        supported, near = 0, set()
        for cell in cells:
            assert cell is not None
            around = {(cell[0] + i, cell[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
            supported += any(c in self.ground for c in around)
            near |= around
        heights = [z for c in near for z in self.ground.get(c, [])]
        if not heights or supported / len(cells) < SUPPORT:
            return None
        height = sum(heights) / len(heights)
        top = height + max(z for _, _, z in xyz) - min(z for _, _, z in xyz)
        obstacles = [z for c in near for z in self.others.get(c, []) if z <= top]
        return None if obstacles else height

    def add(self, thing: np.ndarray) -> None:
        for x, y, z in thing[:, :3].tolist():
            cell = cell_of(x, y)
            assert cell is not None
            self.others[cell].append(z)


def cell_of(x: float, y: float) -> Cell | None:
    if abs(x) >= REACH or abs(y) >= REACH:
        return None
    return math.floor((x + REACH) / CELL), math.floor((y + REACH) / CELL)


def slow_cutmix(
    scan: LabelledScan,
    bank: InstanceBank,
    classes: list[str],
    ground: set[int],
    numbers: tuple[int, int, int],
    max_shift: float,
    rng: np.random.Generator,
) -> list[tuple[str, np.ndarray]]:
    """The things pasted, by name; `numbers` are the fewest, the most, and the attempts for each."""
    around = SlowSurroundings(scan.points, [target in ground for target in scan.targets.tolist()])
    groups = [name for name in classes if any(bank.class_names[c] == name for c in bank.classes)]
    rng.random()  # whether to paste at all
    count = int(rng.integers(numbers[0], numbers[1] + 1))
    names = [groups[int(rng.integers(len(groups)))] for _ in range(count)]
    chosen = [int(rng.choice([i for i, c in enumerate(bank.classes) if bank.class_names[c] == name])) for name in names]
    pasted = []
    for name, index in zip(names, chosen, strict=True):
        for angle in rng.uniform(-math.pi, math.pi, numbers[2]):
            thing = _turned(bank.points[bank.starts[index] : bank.starts[index + 1]], angle)
            height = around.ground_under(thing)
            if height is not None and abs(height - thing[:, 2].min()) <= max_shift:
                thing[:, 2] += np.float32(height - float(thing[:, 2].min()))
                around.add(thing)
                pasted.append((name, thing))
                break
    return pasted


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    turned = points.copy()
    for row in turned:
        row[0], row[1] = cos * row[0] - sin * row[1], sin * row[0] + cos * row[1]
    return turned
