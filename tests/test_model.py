"""The Python API: `clusterseg.load(path).predict(points)`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import scan
from tiny_run import configure

import clusterseg
from clusterseg.commands.predict import predict
from clusterseg.errors import UserError


@pytest.fixture(scope="module")
def path(tiny_run: Path) -> Path:
    return tiny_run / "run/checkpoints/best.ckpt"


@pytest.fixture(scope="module")
def clouds() -> list[np.ndarray]:
    return [scan(np.random.default_rng(seed), points)[0] for seed, points in ((1, 300), (2, 500))]


def test_it_gives_what_the_command_writes(path: Path, clouds: list[np.ndarray], tmp_path: Path) -> None:
    odd = clouds[0].copy()
    odd[7, 0] = np.nan
    odd[9, 3] = np.inf
    for name, cloud in (("a", clouds[0]), ("b", clouds[1]), ("odd", odd)):
        np.save(tmp_path / f"{name}.npy", cloud)
    settings = (f"input={tmp_path}", f"output={tmp_path / 'out'}", "trainer=cpu", "remission=1", "tta=rot4")
    predict(configure("predict", f"ckpt={path}", *settings), tmp_path)
    model = clusterseg.load(path, device="cpu", tta="rot4")
    results = model.predict_batch([*clouds, odd])
    for name, result in zip(("a", "b", "odd"), results, strict=True):
        np.testing.assert_array_equal(result.labels, np.fromfile(tmp_path / "out" / f"{name}.label", "<u4"))
    assert (results[2].labels[7], results[2].train_ids[7], results[2].confidence[7]) == (0, 255, 0)
    assert results[2].labels[9] != 0, "a missing remission does not lose the point"


def test_shapes_types_and_ranges(path: Path, clouds: list[np.ndarray]) -> None:
    model = clusterseg.load(path)
    assert model.features == ("x", "y", "z", "remission")
    assert len(model.class_names) == 19
    result = model.predict(clouds[0])
    for values, kind in ((result.labels, np.uint32), (result.train_ids, np.int64), (result.confidence, np.float32)):
        assert values.shape == (len(clouds[0]),)
        assert values.dtype == kind
    assert ((result.confidence > 1 / 20) & (result.confidence <= 1)).all()
    np.testing.assert_array_equal(model.label_map.to_raw(result.train_ids), result.labels)
    assert model.predict_batch([]) == []


def test_an_ensemble_and_half_precision(path: Path, clouds: list[np.ndarray]) -> None:
    alone = clusterseg.load(path).predict(clouds[0])
    twice = clusterseg.load([path, path]).predict(clouds[0])
    np.testing.assert_array_equal(alone.labels, twice.labels)
    half = clusterseg.load(str(path), precision="bf16-mixed").predict(clouds[0])
    assert (half.labels == alone.labels).mean() > 0.9


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((5, 3), np.float32), r"an array \(5, 3\) of float32; expected \(points, 4\).*x, y, z, remission"),
        (np.zeros(5, np.float32), r"expected \(points, 4\)"),
        (np.zeros((0, 4), np.float32), r"expected \(points, 4\)"),
        (np.full((5, 4), np.nan, np.float32), r"finite"),
        (np.array([["a"] * 4]), r"expected \(points, 4\) of float32"),
    ],
)
def test_what_is_no_cloud(path: Path, points: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        clusterseg.load(path).predict(points)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "quantum"}, r"device=quantum cannot be used"),
        ({"precision": "64"}, r"precision=64: expected one of 32-true"),
        ({"tta": "mirror"}, r"tta=mirror: no such"),
    ],
)
def test_settings_that_are_not_possible(path: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        clusterseg.load(path, **settings)


def test_the_package_lists_what_it_offers() -> None:
    assert set(dir(clusterseg)) == set(clusterseg.__all__)
    assert all(getattr(clusterseg, name) is not None for name in clusterseg.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        clusterseg.lod  # noqa: B018
