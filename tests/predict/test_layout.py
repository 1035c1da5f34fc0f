"""Columns without names: recognised, named, or refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clusterseg.data.clouds import Layout, choose_layout, read_cloud
from clusterseg.errors import UserError

GENERATOR = np.random.default_rng(3)
POINTS = 3360  # a whole number of points whatever the number of columns
XYZ = np.c_[GENERATOR.uniform(-25, 25, (POINTS, 2)), GENERATOR.normal(-1.73, 0.02, POINTS)]
XYZ[::3, 2] += GENERATOR.uniform(0, 6, len(XYZ[::3]))
REMISSION = GENERATOR.uniform(0, 0.99, POINTS)
RING, TIME = np.arange(POINTS) % 32, np.linspace(0, 0.1, POINTS)
KITTI = np.c_[XYZ, REMISSION]


def write(path: Path, columns: np.ndarray, kind: str = "<f4") -> Path:
    columns.astype(kind).tofile(path)
    return path


OTHERS = {
    "ring": np.c_[XYZ, np.round(REMISSION * 255), RING],
    "time": np.c_[KITTI, TIME],
    "ring and time": np.c_[KITTI, RING, TIME],
    "colours": np.c_[XYZ, GENERATOR.integers(0, 256, (POINTS, 3))],
    "no remission": XYZ,
    "normals": np.c_[KITTI, GENERATOR.normal(size=(POINTS, 3))],
    "eight": np.c_[KITTI, RING, TIME, RING, TIME],
    "map coordinates": np.c_[np.add(KITTI, [500, 900, 40, 0]), RING],
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("shuffled", [False, True])
def test_other_columns_are_refused(tmp_path: Path, name: str, shuffled: bool) -> None:
    rows = GENERATOR.permutation(OTHERS[name]) if shuffled else OTHERS[name]
    with pytest.raises(UserError, match=r"a\.bin: .*columns=\[x,y,z,intensity,ring\]"):
        read_cloud(write(tmp_path / "a.bin", rows))


@pytest.mark.parametrize("scale", [0, 1, 255, 65535])
@pytest.mark.parametrize("points", [1, 7, 50, POINTS])
def test_four_columns_are_read(tmp_path: Path, scale: float, points: int) -> None:
    rows = (KITTI * [1, 1, 1, scale])[:points].astype("<f4")
    for planted in (rows, np.where(np.arange(points)[:, None] % 3 == 1, np.float32(np.nan), rows)):
        cloud = read_cloud(write(tmp_path / "a.bin", planted))
        assert cloud.remission is not None
        np.testing.assert_array_equal(np.c_[cloud.xyz, cloud.remission], planted)


@pytest.mark.parametrize("kind", ["<f8", ">f4", "<i4", "<i2"])
def test_other_number_types_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UserError, match=r"a\.bin"):
        read_cloud(write(tmp_path / "a.bin", KITTI * 1000, kind))


def test_occupancy_bits_are_refused(tmp_path: Path) -> None:
    bits = np.packbits(GENERATOR.random(256 * 256 * 32) < 0.03)
    with pytest.raises(UserError, match="no coordinates in metres"):
        read_cloud(write(tmp_path / "a.bin", bits, "u1"))


def test_negative_remission_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="of the fourth numbers are negative"):
        read_cloud(write(tmp_path / "a.bin", np.c_[XYZ, GENERATOR.normal(size=POINTS)]))


def test_named_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.bin", OTHERS["ring"])
    for layout in (choose_layout(["x", "y", "z", "intensity", "ring"], None), choose_layout(None, "nuscenes")):
        cloud = read_cloud(path, layout)
        points = cloud.points(255, ("x", "y", "z", "ring", "remission"), np.zeros(3))
        np.testing.assert_allclose(points[:, 3], RING)
        np.testing.assert_allclose(points[:, 4], np.round(REMISSION * 255) / 255, rtol=1e-6)
    with pytest.raises(UserError, match=r"a\.bin: .*not a multiple of 28 .*3 or 4 or 5 or 6 or 8 would fit|a\.bin"):
        read_cloud(path, choose_layout(list("xyzabcdefgh"), None))


def test_a_size_that_fits_no_column_count_names_those_that_would(tmp_path: Path) -> None:
    path = write(tmp_path / "a.bin", OTHERS["ring"][:7])
    with pytest.raises(UserError, match=r"140 bytes are not a multiple of 16.*\(5 or 7 would fit\)"):
        read_cloud(path)


def test_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", OTHERS["ring"])
    with pytest.raises(UserError, match=r"has 5 columns; expected \(points, 4\)"):
        read_cloud(tmp_path / "a.npy")
    features = ("x", "y", "z", "intensity", "ring")
    cloud = read_cloud(tmp_path / "a.npy", Layout(features=features))
    np.testing.assert_allclose(cloud.points(1, features, np.zeros(3)), OTHERS["ring"], rtol=1e-6)
    with pytest.raises(UserError, match=r"has 5 columns, but columns=\[x,y,z\] names 3"):
        read_cloud(tmp_path / "a.npy", choose_layout(["x", "y", "z"], None))


def test_a_missing_feature_names_file_field_and_what_there_is(tmp_path: Path) -> None:
    cloud = read_cloud(write(tmp_path / "a.bin", KITTI))
    with pytest.raises(UserError, match="has no field ring, which the network takes; found x, y, z, remission"):
        cloud.points(1, ("x", "y", "z", "remission", "ring"))


@pytest.mark.parametrize(
    ("columns", "name", "message"),
    [
        (None, "argo", "no such format; choose one of kitti, nuscenes"),
        (["x", "y", "z"], "kitti", "both set"),
        (["x", "y", "i"], None, r"columns=\[x,y,i\]: expected x, y, z"),
        (["x", "y", "z", "z"], None, "each once"),
        (7, None, "expected names"),
    ],
)
def test_impossible_settings(columns: object, name: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_layout(columns, name)


def test_real_files(shared: Path) -> None:
    others = shared / "data/others"
    for path in sorted((others / "nuscenes").rglob("*.bin")):
        with pytest.raises(UserError, match="fit 5 columns better"):
            read_cloud(path)
        assert len(read_cloud(path, choose_layout(None, "nuscenes")).xyz) == 34688
    waymo = others / "waymo_kitti_format/0000000.bin"
    if waymo.is_file():
        with pytest.raises(UserError, match="columns="):
            read_cloud(waymo)
        assert len(read_cloud(waymo, choose_layout(None, "waymo")).xyz) == 800
    for path in sorted((others / "rellis3d").glob("*.bin")):
        read_cloud(path)
