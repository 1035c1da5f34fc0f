"""A checkpoint written before the house was moved: `fixtures/first_house.ckpt`, of a tiny network with 19 classes.

`first_house.npz` holds a cloud and what that day's code made of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import write_dataset
from tiny_run import configure

import clusterseg
from clusterseg.build.ensemble import read_networks
from clusterseg.build.prepare import self_contained
from clusterseg.build.task import build_task, init_weights
from clusterseg.build.training import build_data
from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.predict import predict
from clusterseg.data.batch import collate
from clusterseg.data.sample import build_sample

OLD = Path(__file__).parent / "fixtures" / "first_house.ckpt"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(OLD.with_suffix(".npz")) as arrays:
        return dict(arrays)


def test_its_logits(golden: dict[str, np.ndarray]) -> None:
    networks = read_networks(OLD)
    assert networks.inputs.features == ("x", "y", "z", "remission")
    assert networks.inputs.voxel_size == 0.2
    batch = collate([build_sample(golden["points"], None, "0", voxel_size=0.2)])
    with torch.inference_mode():
        logits = networks.networks[0].eval()(batch.feats, batch.coords).logits
    np.testing.assert_allclose(logits[::4], golden["logits"], rtol=1e-4, atol=1e-4)


def test_predict(golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.save(tmp_path / "cloud.npy", golden["points"])
    overrides = (f"ckpt={OLD}", f"input={tmp_path / 'cloud.npy'}", f"output={tmp_path / 'out'}", "trainer=cpu")
    predict(configure("predict", *overrides, "remission=1"), tmp_path)
    model = clusterseg.load(OLD, device="cpu")
    expected = model.label_map.to_raw(golden["train_ids"].astype(np.int64))
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out" / "cloud.label", "<u4"), expected)
    np.testing.assert_array_equal(model.predict(golden["points"]).labels, expected)


def test_evaluate(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", {"08": 2})
    config = configure("evaluate", f"ckpt={OLD}", f"data.root={root}", "trainer=cpu", "pictures=0")
    assert evaluate(config, tmp_path / "out")["scans"] == 2


def test_init_from(tmp_path: Path) -> None:
    control = torch.load(OLD, weights_only=True)["config"]["model"]["backbone"]["control"]
    config = configure("train", "model=spvnas_cluster", "model.cluster.projection=[8]", f"model.init_from={OLD}")
    config.model.backbone.control = control
    config = self_contained(config)
    task = build_task(config, build_data(config).inputs)
    init_weights(config, task)
    want = torch.load(OLD, weights_only=True)["state_dict"]
    names = [name for name in want if name.startswith(("backbone.", "cluster.proj."))]
    assert len(names) > 100
    assert all(torch.equal(task.state_dict()[name], want[name]) for name in names)
