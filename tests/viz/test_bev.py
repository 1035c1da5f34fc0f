"""Pictures from above against a loop over the points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from clusterseg.data.label_map import IGNORE_INDEX, load_label_map
from clusterseg.viz.bev import bev_figure, panels, raster
from clusterseg.viz.figures import png
from clusterseg.viz.object3d import object3d

COLOURS = load_label_map("semantickitti").colours


def test_the_highest_point_of_a_pixel_shows() -> None:
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-12, 12, (3000, 3)).astype(np.float32)
    xyz[:3] = [[np.nan, 0, 0], [0, 0, np.nan], [np.inf, 0, 0]]
    colours = rng.integers(0, 256, (3000, 3)).astype(np.uint8)
    image = raster(xyz, colours, radius=10, pixels=20)
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for i, (x, y, z) in enumerate(xyz.astype(float).tolist()):
        if not np.isfinite([x, y, z]).all() or not (abs(x) < 10 and abs(y) < 10):
            continue
        pixel = (int((10 - x) * 1.0), int((10 - y) * 1.0))
        best[pixel] = max(best.get(pixel, (-1e9, -1)), (z, i))
    expected = np.full((20, 20, 3), (16, 19, 26), np.uint8)
    for pixel, (_, i) in best.items():
        expected[pixel] = colours[i]
    np.testing.assert_array_equal(image, expected)


def test_forward_is_up_and_left_is_left() -> None:
    ahead_left = np.array([[9.0, 4.0, 0.0]], np.float32)
    row, column = np.argwhere((raster(ahead_left, np.array([[1, 2, 3]], np.uint8), 10, 20) == [1, 2, 3]).all(-1))[0]
    assert (row, column) == (1, 6)


def test_panels() -> None:
    xyz = np.zeros((3, 3), np.float32)
    truth, prediction = np.array([0, 8, IGNORE_INDEX]), np.array([0, 9, 9])
    shown = panels(xyz, truth, prediction, COLOURS)
    assert list(shown) == ["input", "truth", "prediction", "error"]
    np.testing.assert_array_equal(shown["prediction"], COLOURS[prediction])
    np.testing.assert_array_equal(shown["truth"][:2], COLOURS[truth[:2]])
    assert len({tuple(colour) for colour in shown["error"].tolist()}) == 3, "right, wrong, ignored"
    unlabelled = panels(xyz, np.full(3, IGNORE_INDEX), prediction, COLOURS)
    assert list(unlabelled) == ["input", "prediction"]
    assert png(bev_figure(xyz, unlabelled, "11/000000")).startswith(b"\x89PNG")


def test_a_scan_for_wandb_keeps_points_and_colours(tmp_path: Path) -> None:
    xyz = np.arange(30, dtype=np.float32).reshape(10, 3)
    xyz[4] = np.nan
    colours = np.arange(30, dtype=np.uint8).reshape(10, 3)
    cloud = object3d(xyz, colours, max_points=5)
    held = json.loads(Path(cloud._path).read_text())
    kept = [0, 2, 5, 7, 9]
    assert held == np.c_[xyz[kept], colours[kept]].astype(float).tolist()
