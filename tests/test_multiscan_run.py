"""Several scans as one, from training to scores, labels and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark import MULTISCAN_MAP, benchmark_scores
from moving_scene import CAR, WALLS, write_rows, write_sequence
from omegaconf import DictConfig
from tiny import write_control
from tiny_run import configure

from clusterseg.build.ensemble import read_networks
from clusterseg.build.evaluation import build_data
from clusterseg.build.model import load
from clusterseg.build.training import build_data as build_data_of
from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.predict import predict
from clusterseg.commands.train import train
from clusterseg.data.scan import read_labels
from clusterseg.errors import UserError
from clusterseg.predict.validate import validate
from clusterseg.synthetic.labels import Raw

POINTS = WALLS + CAR


def training(folder: Path, root: Path, data: str = "semantickitti_multiscan", *overrides: str) -> DictConfig:
    return configure(
        "train",
        f"data={data}",
        f"data.root={root}",
        "data.sequences.train=[00]",
        "data.sequences.val=[08]",
        "data.num_workers=0",
        f"model.backbone.control={write_control(folder / 'net.config')}",
        "optim=adamw",
        "optim.optimizer.lr=0.02",
        "trainer=cpu",
        "trainer.max_steps=2",
        *overrides,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data`` (00, 08, and 11 as the test sequence) and ``run`` after a few steps."""
    folder = tmp_path_factory.mktemp("several")
    for seed, name in enumerate(("00", "08", "11")):
        write_sequence(folder / "data", name, 5, every=1 + seed, seed=seed)
    config = training(folder, folder / "data", "semantickitti_multiscan", "trainer.max_steps=12", "data.voxel_size=0.2")
    config.trainer.max_epochs = 3
    train(config, folder / "run")
    return folder


def evaluating(run: Path, *overrides: str) -> DictConfig:
    return configure("evaluate", f"ckpt={run / 'run/checkpoints/last.ckpt'}", "trainer=cpu", "pictures=1", *overrides)


def test_a_checkpoint_knows_its_channels(run: Path) -> None:
    inputs = torch.load(run / "run/checkpoints/last.ckpt", weights_only=True)["inputs"]
    assert inputs["features"] == ["x", "y", "z", "remission", "age"]
    assert len(inputs["label_map"]["classes"]) == 25
    assert (run / "run/pictures/08_000000").is_dir(), "pictures are of the newest scan"


def test_the_newest_scans_points_are_written_and_scored_as_the_benchmark_does(run: Path, tmp_path: Path) -> None:
    result = evaluate(evaluating(run, "split=test", "data.sequences.test=[11]", "tta=flip4"), tmp_path)
    assert result["points"] == 5 * POINTS and len(result["iou"]) == 25
    pairs = []
    for frame in range(0, 13, 3):
        name = f"{frame:06d}.label"
        written = read_labels(tmp_path / "submission/sequences/11/predictions" / name, POINTS)
        pairs.append((read_labels(run / "data/11/labels" / name, POINTS), written))
    miou, accuracy, iou = benchmark_scores(pairs, MULTISCAN_MAP)
    assert result["miou"] == pytest.approx(miou, abs=1e-12)
    assert result["accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert list(result["iou"].values()) == pytest.approx(iou, abs=1e-12)
    assert accuracy > 0.5, "it has learnt something, so that the counts differ from zero"
    checked = validate(tmp_path / "submission.zip", run / "data", "multi")
    assert (checked.scans, checked.complete) == (5, False)
    assert {int(label) for _, written in pairs for label in written} <= set(MULTISCAN_MAP)


def test_another_window_but_not_without_one(run: Path) -> None:
    networks = read_networks(run / "run/checkpoints/last.ckpt")
    assert build_data({"window": 2}, networks).dataset("val")[4].point_targets.shape == (POINTS,)
    with pytest.raises(UserError, match=r"takes x, y, z, remission, age, the data has x, .*leave data\.window out"):
        build_data({"window": 1}, networks)


def test_predict_says_what_it_cannot_do(run: Path, tmp_path: Path) -> None:
    ckpt = f"ckpt={run / 'run/checkpoints/last.ckpt'}"
    single = configure("predict", ckpt, f"input={run / 'data/11/velodyne'}", f"output={tmp_path / 'a'}", "trainer=cpu")
    with pytest.raises(UserError, match=r"has no field age.*evaluate\.py.*split=test"):
        predict(single, tmp_path)
    merged = np.random.default_rng(0).uniform(0, 1, (200, 5)).astype(np.float32)
    np.save(tmp_path / "merged.npy", merged)
    config = configure("predict", ckpt, f"input={tmp_path / 'merged.npy'}", f"output={tmp_path / 'b'}", "trainer=cpu")
    assert predict(config, tmp_path)["predicted"] == 1, "a file of merged scans has the field"
    labels = load(run / "run/checkpoints/last.ckpt", device="cpu").predict(merged).labels
    np.testing.assert_array_equal(read_labels(tmp_path / "b/merged.label", 200), labels)


def test_too_few_poses_stop_a_training_before_it_starts(tmp_path: Path) -> None:
    for name in ("00", "08"):
        write_sequence(tmp_path / "data", name, 3)
    write_rows(tmp_path / "data/08/poses.txt", ["1 0 0 0 0 1 0 0 0 0 1 0"] * 2)
    with pytest.raises(UserError, match=r"08/poses\.txt: 2 lines, but the last scan is frame 000002, so 3 are needed"):
        train(training(tmp_path, tmp_path / "data"), tmp_path / "run")
    assert not (tmp_path / "run/checkpoints").exists()


def test_streets_of_several_scans(tmp_path: Path) -> None:
    """Streets write poses, calibration and the ids of what moves; what stands lies on itself."""
    recipe = "data.recipe={scans: 3, sequences: [8], beams: 32, azimuths: 500}"
    data = build_data_of(training(tmp_path, tmp_path / "streets", "streets_multiscan", recipe))
    dataset = data.dataset("val")
    scan, before = dataset.read(2), dataset.read(1)
    assert scan.context is not None and scan.labels is not None and scan.context.labels is not None
    np.testing.assert_allclose(np.unique(scan.context.points[:, 4]), [0.1, 0.2], atol=1e-6)
    moved = scan.context.points[: len(before.points), :3][(before.labels & 0xFFFF) == Raw.BUILDING]
    walls = scan.points[(scan.labels & 0xFFFF) == Raw.BUILDING, :3]
    assert len(moved) > 50
    gap = np.median([np.linalg.norm(walls - point, axis=1).min() for point in moved[:: len(moved) // 50]])
    print(f"median distance to the nearest point of a wall {100 * gap:.1f} cm")
    assert gap < 0.5
    moving = dataset.label_map.to_train(scan.context.labels) >= 19
    assert moving.any(), "something moves"


def test_real_scans(shared: Path, tmp_path: Path) -> None:
    root = shared / "data" / "semantickitti_mini"
    if not root.is_dir():
        pytest.skip(f"no SemanticKITTI mini scans at {root}")
    config = training(tmp_path, root, "semantickitti_multiscan", "data.max_scans=3", "data.voxel_size=0.3")
    train(config, tmp_path / "run")
    result = evaluate(evaluating(tmp_path), tmp_path / "out")
    labels = sorted((root / "sequences/08/labels").iterdir())[:3]
    raw = np.concatenate([np.fromfile(path, "<u4") & 0xFFFF for path in labels])
    assert result["points"] == sum(MULTISCAN_MAP[int(label)] > 0 for label in raw)
