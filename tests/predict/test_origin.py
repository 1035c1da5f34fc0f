"""Where clouds lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clusterseg.data.clouds import read_cloud
from clusterseg.data.clouds.origin import coordinate_step, find_offset, lies_on_zero
from clusterseg.errors import UserError

GENERATOR = np.random.default_rng(3)
STREET = np.c_[GENERATOR.uniform(-25, 25, (4000, 2)), GENERATOR.normal(-1.73, 0.02, 4000)]
STREET[::3, 2] += GENERATOR.uniform(0, 6, len(STREET[::3]))
MIDDLE = np.array([*np.median(STREET[:, :2], axis=0), np.percentile(STREET[:, 2], 5) + 1.73])


@pytest.mark.parametrize("shift", [(5e5, 5.4e6, 300), (0, 0, 450), (600, 300, 100), (0, 0, -60), (90, 0, 0), (0, 0, 9)])
def test_far_clouds_are_moved_to_the_sensors_frame(shift: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(find_offset(STREET + shift), MIDDLE + shift, atol=1e-6)


@pytest.mark.parametrize("place", [(0, 0, 0), (8, -3, 0), (0, 0, 1.73), (32, 0, 0)])
def test_clouds_around_a_sensor_stay(place: tuple[float, float, float]) -> None:
    assert not find_offset(STREET + place).any()


def test_settings() -> None:
    far = np.add(STREET, [600, 300, 100])
    assert not find_offset(far, "sensor").any()
    np.testing.assert_allclose(find_offset(STREET, "median"), MIDDLE, atol=1e-9)
    np.testing.assert_array_equal(find_offset(far, [1, 2.5, 3]), [1, 2.5, 3])
    for wrong in ("middle", [1, 2], [1, 2, "x"], 7, None, [1, 2, float("nan")]):
        with pytest.raises(UserError, match="expected auto, sensor, median"):
            find_offset(STREET, wrong)


@pytest.mark.parametrize("swap", [False, True])
def test_degrees_are_refused(swap: bool) -> None:
    degrees = STREET / [111_000, 111_000, 1] + [151.2, -33.9, 40]
    degrees = degrees[:, [1, 0, 2]] if swap else degrees
    with pytest.raises(UserError, match="seem to be degrees"):
        find_offset(degrees)
    assert not find_offset(degrees, "sensor").any()


def test_points_that_are_not_finite_do_not_matter() -> None:
    planted = np.add(STREET, [600, 300, 100])
    planted[::5] = np.nan
    planted[1::50, 0] = np.inf
    np.testing.assert_allclose(find_offset(planted), np.add(MIDDLE, [600, 300, 100]), atol=0.5)
    assert not find_offset(planted * np.nan).any()


def test_coarse_coordinates_are_noticed() -> None:
    far = np.add(STREET, [5e5, 5.4e6, 300])
    assert coordinate_step(far) == 0
    assert coordinate_step(far.astype(np.float32).astype(np.float64)) == 0.5
    assert coordinate_step(STREET.astype(np.float32).astype(np.float64)) < 1e-5


def test_heights_above_ground_are_noticed() -> None:
    assert lies_on_zero(np.add(STREET, [0, 0, 1.75]))
    assert not lies_on_zero(STREET)


def test_real_scans_stay(shared: Path) -> None:
    found = sorted((shared / "data/semantickitti_mini/sequences").rglob("velodyne/*.bin"))
    found += sorted((shared / "data/others").rglob("pcd_*/*.pcd"))
    for path in found:
        try:
            cloud = read_cloud(path)
        except UserError:
            assert "ascii_" in path.name, path
            continue
        assert not cloud.offset().any(), path
