"""The scale of remission, told from the files."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from clusterseg.data.clouds import choose_layout, read_cloud
from clusterseg.data.clouds.scale import choose_remission_scale
from clusterseg.errors import UserError

# Like SemanticKITTI's: 99 % lie below 0.72, none above 0.99.
REMISSION = np.abs(np.random.default_rng(0).normal(0, 0.28, 4000)).clip(0, 0.99)


def write(path: Path, remission: np.ndarray, kind: str = "f4") -> Path:
    rows = np.zeros(len(remission), [("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", kind)])
    rows["x"], rows["intensity"] = np.arange(len(remission)) / 100, remission
    np.save(path, rows)
    return path


@pytest.mark.parametrize(
    ("largest", "kind", "scale"),
    [
        (1, "f4", 1), (255, "f4", 255), (255, "u1", 255), (100, "f4", 255), (3000, "u2", 4095), (4095, "f8", 4095),
        (6559, "u2", 8191), (65535, "f4", 65535), (65535, "u2", 65535), (7, "u1", 255), (10, "u2", 255),
    ],
)  # fmt: skip
@pytest.mark.parametrize("outlier", [None, -95.0, 2.2])
def test_scales_and_one_outlier(tmp_path: Path, largest: int, kind: str, scale: float, outlier: float | None) -> None:
    values = REMISSION * largest if largest == 1 else np.round(REMISSION * largest)
    if outlier is not None and kind.startswith("f"):
        values[7] = outlier * largest if outlier > 0 else outlier
    assert choose_remission_scale([write(tmp_path / "a.npy", values, kind)], "auto") == scale


@pytest.mark.parametrize("factor", [0.0115, 4.0, -30.0])
def test_what_cannot_be_told_is_refused(tmp_path: Path, factor: float) -> None:
    path = write(tmp_path / "a.npy", REMISSION * factor)
    with pytest.raises(UserError, match=r"a\.npy: remission .*cannot be told: set remission=VALUE"):
        choose_remission_scale([path], "auto")
    assert choose_remission_scale([path], 27) == 27


def test_files_of_different_scales_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.npy", REMISSION), write(tmp_path / "b.npy", np.round(REMISSION * 255))]
    with pytest.raises(UserError, match=r"a\.npy: .* but in .*b\.npy"):
        choose_remission_scale(paths, "auto")


def test_a_dark_file_has_the_scale_of_the_others(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.npy", np.round(REMISSION * 300)),
        write(tmp_path / "b.npy", np.round(REMISSION * 4095)),
    ]
    paths += [write(tmp_path / "c.npy", REMISSION * 0), write(tmp_path / "d.npy", np.round(REMISSION))]
    paths += [write(tmp_path / "e.npy", np.round(REMISSION * 6))]
    assert choose_remission_scale(paths, "auto") == 4095


def test_dark_files_alone(tmp_path: Path) -> None:
    assert choose_remission_scale([write(tmp_path / "a.npy", np.round(REMISSION))], "auto") == 1
    with pytest.raises(UserError, match="cannot be told"):
        choose_remission_scale([write(tmp_path / "a.npy", np.round(REMISSION * 6))], "auto")


def test_what_was_assumed_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    choose_remission_scale([write(tmp_path / "a.npy", np.round(REMISSION * 255))], "auto")
    assert "its scale is 0..255: divided by 255" in caplog.text and "remission=VALUE" in caplog.text
    assert len(caplog.records) == 1


def test_no_remission_and_all_nan(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert choose_remission_scale([write(tmp_path / "a.npy", REMISSION * np.nan)], "auto") == 1
    assert "no remission" in caplog.text
    assert choose_remission_scale([write(tmp_path / "a.npy", REMISSION * 0)], "auto") == 1
    assert "is 0 in all files" in caplog.text


@pytest.mark.parametrize("setting", [0, -1, float("nan"), "high", True])
def test_impossible_settings(setting: object, unchecked: None) -> None:
    with pytest.raises(UserError, match="remission="):
        choose_remission_scale([], setting)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("semantickitti/sequences/08/velodyne/000000.bin", 1),
        ("rellis3d/vel000104.bin", 255),
        ("las/pdal/autzen-thin.las", 255),
        ("las/laspy/fullwave.laz", 16383),
        ("las/ign/test_data_77050_627755_LA93_IGN69.laz", 2047),
        ("pcd_hitachi_ascii_labelled/pointcloud_labeling.pcd", 1),
    ],
)
def test_real_files(shared: Path, name: str, scale: float) -> None:
    path = shared / "data/others" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    if path.suffix.startswith(".la"):
        pytest.importorskip("laspy", reason="laspy is not installed: the extra clusterseg[las]")
    assert choose_remission_scale([path], "auto") == scale
    values = read_cloud(path).points(scale, offset=np.zeros(3))[:, 3]
    assert 0.05 < values.mean() < 0.6


def test_the_scale_of_a_named_format(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    np.c_[np.zeros((4000, 3)), np.round(REMISSION * 20), REMISSION].astype("<f4").tofile(path)
    assert choose_remission_scale([path], "auto", choose_layout(None, "nuscenes")) == 255
    assert choose_remission_scale([path], 20, choose_layout(None, "nuscenes")) == 20


def test_real_nuscenes(shared: Path) -> None:
    paths = sorted((shared / "data/others/nuscenes").rglob("*.bin"))
    if not paths:
        pytest.skip("no nuScenes scans there")
    assert choose_remission_scale(paths, "auto", choose_layout(None, "nuscenes")) == 255
