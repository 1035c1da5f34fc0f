"""A drive: the scans of one sequence, written in pieces by any number of processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clusterseg.errors import UserError
from clusterseg.synthetic import layout
from clusterseg.synthetic.measure import take_scan
from clusterseg.synthetic.modes import MODES_FILE
from clusterseg.synthetic.recipe import Recipe
from clusterseg.synthetic.town import Town, build_town

_PIECE = 25


class Piece(NamedTuple):
    """Some consecutive scans of a sequence: the unit of work."""

    recipe: Recipe
    sequence: int
    start: int
    stop: int


def pieces(recipe: Recipe) -> list[Piece]:
    """All the work of a recipe, sequence by sequence."""
    return [
        Piece(recipe, sequence, start, min(start + _PIECE, recipe.scans))
        for sequence in recipe.sequences
        for start in range(0, recipe.scans, _PIECE)
    ]


def write_piece(root: Path, piece: Piece) -> Iterator[int]:
    """Write the scans of a piece that are not there yet, yielding the number of each.

    The first piece of a sequence also writes its other files. Every scan draws from its own random stream, so that
    it does not matter who writes it.

    Args:
        root: The folder of all sequences; the folders of the sequences exist.
        piece: What to write.
    """
    recipe, sequence = piece.recipe, piece.sequence
    folder = root / f"{sequence:02d}"
    town = _town(recipe.seed, sequence, recipe.period * (recipe.scans - 1), recipe.hoardings, recipe.narrow)
    lidar = recipe.lidar
    if piece.start == 0:
        _write_text_files(folder, town, recipe)
    for index in range(piece.start, piece.stop):
        if not layout.scan_is_whole(folder, index):
            rng = np.random.default_rng([recipe.seed, sequence, index, 1])
            layout.write_scan(folder, index, take_scan(town, lidar, index * recipe.period, rng))
        yield index


#: The town of the sequence at hand: pieces of one sequence follow each other.
_town = lru_cache(maxsize=1)(build_town)


def _write_text_files(folder: Path, town: Town, recipe: Recipe) -> None:
    times = np.arange(recipe.scans) * recipe.period
    layout.write_calib(folder)
    layout.write_times(folder, times)
    layout.write_poses(folder, np.stack([town.pose(float(t)) for t in times]))
    layout.write_atomically(folder / MODES_FILE, town.register.to_json().encode())


def write_drives(root: Path, recipe: Recipe, workers: int) -> Iterator[int]:
    """Write all sequences below `root`, yielding a number of new scans from time to time.

    Args:
        root: The folder of all sequences; may hold a part of the same data set.
        recipe: What to write.
        workers: Number of processes; 1 stays in this one.
    """
    for sequence in recipe.sequences:
        for name in ("velodyne", "labels"):
            (root / f"{sequence:02d}" / name).mkdir(parents=True, exist_ok=True)
    work = pieces(recipe)
    if workers <= 1 or len(work) == 1:
        for piece in work:
            for _ in write_piece(root, piece):
                yield 1
        return
    with ProcessPoolExecutor(min(workers, len(work)), get_context("spawn")) as pool:
        running: set[Future[int]] = {pool.submit(_work, root, piece, os.getpid()) for piece in work}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                f"{root}: a process that was generating died, perhaps for lack of memory: use fewer workers; "
                "the same command continues where it stopped"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _work(root: Path, piece: Piece, parent: int) -> int:
    count = 0
    for _ in write_piece(root, piece):
        count += 1
        if os.getppid() != parent:
            # the process that holds the lock has died: another one may take over
            os._exit(1)
    return count
