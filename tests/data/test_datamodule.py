from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from clusterseg.data.batch import Batch
from clusterseg.data.datamodule import SemanticKittiDataModule
from clusterseg.data.transforms import RandomFlip, RandomRotation, RandomScale
from clusterseg.errors import UserError

MakeRoot = Callable[..., Path]
SPLITS = {"train": [0, 1], "val": ["08"], "test": [11]}
# Lightning's advice on the number of workers and on its own use of deprecated things of torch.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers:",
    "ignore::FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:Checkpoint directory .* exists",
)


def data(root: Path, **settings: Any) -> SemanticKittiDataModule:
    return SemanticKittiDataModule(root, **{"sequences": SPLITS, "num_workers": 0, **settings})


def voxel_counts(batch: Batch) -> torch.Tensor:
    return torch.bincount(batch.coords[:, 0])


def scan_ids(loader: Any) -> list[str]:
    return [scan_id for batch in loader for scan_id in batch.scan_ids]


class Recorder(pl.LightningModule):
    """Notes which scans it saw, and in which voxels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, tuple[str, ...], int]] = []
        self.validated: list[str] = []

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        checksum = batch.coords.to(torch.int64).mul(torch.tensor([1, 3, 5, 7])).sum().item()
        self.seen.append((self.current_epoch, batch.scan_ids, int(checksum)))
        return self.weight.sum()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self.validated += batch.scan_ids

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder: Path, saving: dict[str, Any] | None = None, **settings: Any) -> pl.Trainer:
    """Return a Trainer that keeps every checkpoint in `folder`, by default one for each step."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    checkpoint = pl.callbacks.ModelCheckpoint(
        folder / "checkpoints", save_top_k=-1, **(saving or {"every_n_train_steps": 1})
    )
    return pl.Trainer(
        accelerator="cpu",
        callbacks=[checkpoint],
        default_root_dir=folder,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        **quiet,
        **settings,
    )


@pytest.mark.parametrize(
    "protocol, train, val",
    [("train", [*range(8), 9, 10], [8]), ("trainval", list(range(11)), [])],
)
def test_protocols(protocol: str, train: list[int], val: list[int]) -> None:
    sequences = SemanticKittiDataModule("anywhere", protocol).reader.sequences
    assert sequences["train"] == tuple(f"{i:02d}" for i in train)
    assert sequences["val"] == tuple(f"{i:02d}" for i in val)
    assert sequences["test"] == tuple(f"{i:02d}" for i in range(11, 22))


def test_loaders_without_a_trainer(make_root: MakeRoot) -> None:
    make_root({"00": 2, "01": 2, "08": 3, "09": 1})
    root = make_root({"11": 2}, labels=False)
    module = data(root, max_voxels=100, augmentation={"flip": RandomFlip(), "scale": None}, keep_points=True)
    assert len(module.class_names) == module.num_classes == 19
    assert module.inputs.features == (
        "x",
        "y",
        "z",
        "remission",
    )
    train = list(module.train_dataloader())
    assert sorted(scan_ids(train)) == ["00/000000", "00/000001", "01/000000", "01/000001"]
    assert all((voxel_counts(batch) == 100).all() for batch in train)
    assert scan_ids(module.val_dataloader()) == ["08/000000", "08/000001", "08/000002"]
    for test in (module.test_dataloader(), module.predict_dataloader()):
        batches = list(test)
        assert scan_ids(batches) == ["11/000000", "11/000001"]
        assert all((batch.point_targets == 255).all() for batch in batches)
    for batch in module.eval_dataloader("train"):
        assert voxel_counts(batch).item() > 100  # no cap
        assert batch.points is not None
        assert (batch.feats[batch.inverse_map] - batch.points).abs()[:, :3].max() <= 0.0501  # no augmentation
    assert len(scan_ids(module.eval_dataloader("all"))) == 10
    with pytest.raises(UserError, match=r"split=dev: no such split; choose one of val, train, test, all"):
        module.eval_dataloader("dev")


def test_few_training_scans_are_spread_evenly(make_root: MakeRoot) -> None:
    root = make_root({"00": 4, "01": 3, "08": 3})
    every = data(root).dataset("fit").scan_ids
    few = data(root, train_scans=2)
    n = len(every)
    assert few.dataset("fit").scan_ids == ["00/000001", "01/000001"] and n == 7
    assert few.dataset("val").scan_ids == data(root).dataset("val").scan_ids, "validation keeps all of its scans"
    assert sorted(scan_ids(few.train_dataloader())) == few.dataset("fit").scan_ids
    with pytest.raises(UserError, match=rf"data\.train_scans={n + 1}: the training split has only {n} scans"):
        data(root, train_scans=n + 1).dataset("fit")


def test_missing_sequences_show_at_setup(make_root: MakeRoot) -> None:
    root = make_root({"00": 1, "01": 1})
    with pytest.raises(UserError, match=r"sequences 08 are missing; present: 00, 01.*data\.sequences\.val="):
        data(root).setup("fit")
    with pytest.raises(UserError, match=r"sequences 11 are missing.*data\.sequences\.test="):
        data(root).setup("test")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"protocol": "semi"}, r"data\.protocol=semi.*train, trainval"),
        ({"sequences": {"valid": [8]}}, r"data\.sequences: unknown splits \['valid'\]; expected train, val"),
        ({"label_map": "kitti"}, r"data\.label_map=kitti"),
        ({"voxel_size": 0.0}, r"data\.voxel_size=0.0: expected a number above 0"),
        ({"max_voxels": -5}, r"data\.max_voxels=-5"),
        ({"batch_size": 0}, r"data\.batch_size=0"),
        ({"num_workers": -1}, r"data\.num_workers=-1: expected an integer of at least 0"),
        ({"seed": -1}, r"data\.seed=-1"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SemanticKittiDataModule("anywhere", **settings)


def test_validating_on_what_is_trained_on_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "clusterseg"):
        SemanticKittiDataModule("anywhere", "trainval", {"val": ["08"]})
        SemanticKittiDataModule("anywhere", "train")
    assert [r.getMessage() for r in caplog.records] == [
        "data.sequences: ['08'] are trained and validated on: the validation is void"
    ]


def test_config(make_root: MakeRoot) -> None:
    conf = Path(__file__).resolve().parents[2] / "conf"
    overrides = [
        "+data=semantickitti",
        "+augmentation=default",
        "+seed=3",
        f"data.root={make_root({'00': 1, '02': 1, '08': 1})}",
    ]
    overrides += ["data.sequences.train=[00,02]", "data.sequences.val=[08]", "data.num_workers=0"]
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose(overrides=overrides)
    module = instantiate(config.data)
    assert module.transforms == (RandomRotation(), RandomScale())
    assert module.max_voxels == 80_000 and module.seed == 3
    assert sorted(scan_ids(module.train_dataloader())) == ["00/000000", "02/000000"]
    assert scan_ids(module.val_dataloader()) == ["08/000000"]
    assert len(module.reader.sequences["test"]) == 11


def test_ranks_of_a_trainer_share_the_scans(make_root: MakeRoot) -> None:
    root = make_root({"00": 3, "01": 2, "08": 3, "11": 1})
    train, val, test = [], [], []
    for rank in range(2):
        module = data(root, batch_size=1)

        class Ranked(pl.Trainer):
            global_rank = rank  # type: ignore[assignment]
            world_size = 2  # type: ignore[assignment]

        module.trainer = Ranked(accelerator="cpu", logger=False, enable_checkpointing=False)
        train.append(scan_ids(module.train_dataloader()))
        val.append(scan_ids(module.val_dataloader()))
        test.append(scan_ids(module.test_dataloader()))
    assert [len(ids) for ids in train] == [3, 3] and len(set(train[0] + train[1])) == 5
    assert val == [["08/000000", "08/000002"], ["08/000001"]]
    assert test == [["11/000000"], []]
    module.trainer.__class__.world_size = 4  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"data\.sequences\.val: 3 scan\(s\) for 4 ranks"):
        module.val_dataloader()


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("limit", [{"max_epochs": 3}, {"max_epochs": 3, "max_steps": 9}])
def test_a_trainer_resumes_exactly_after_any_step(
    make_root: MakeRoot, tmp_path: Path, num_workers: int, limit: dict[str, int]
) -> None:
    root = make_root({"00": 3, "01": 2, "08": 1})
    settings = {"num_workers": num_workers, "max_voxels": 150, "augmentation": {"flip": RandomFlip()}}
    whole = Recorder()
    trainer(tmp_path, **limit).fit(whole, datamodule=data(root, **settings))
    assert len(whole.seen) == 9 and len(whole.validated) == 3
    assert len({(scans, voxels) for _, scans, voxels in whole.seen}) == 9
    for step in (1, 2, 3, 4, 6, 8):
        resumed = Recorder()
        checkpoint = next((tmp_path / "checkpoints").glob(f"*step={step}.ckpt"))
        trainer(tmp_path, **limit).fit(resumed, datamodule=data(root, **settings), ckpt_path=checkpoint)
        assert resumed.seen == whole.seen[step:], step


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    "limit, at_train_end",
    # Lightning 2.6 itself miscounts epochs when it resumes with max_steps from a checkpoint of a train epoch's end.
    [({"max_epochs": 3}, True), ({"max_epochs": 3}, False), ({"max_epochs": 3, "max_steps": 9}, False)],
)
def test_a_trainer_resumes_exactly_after_an_epoch(
    make_root: MakeRoot, tmp_path: Path, num_workers: int, limit: dict[str, int], at_train_end: bool
) -> None:
    root = make_root({"00": 3, "01": 2, "08": 1})
    saving = {"every_n_epochs": 1, "save_on_train_epoch_end": at_train_end}
    whole = Recorder()
    trainer(tmp_path, saving, **limit).fit(whole, datamodule=data(root, num_workers=num_workers))
    for step in (3, 6):
        resumed = Recorder()
        checkpoint = next((tmp_path / "checkpoints").glob(f"*step={step}.ckpt"))
        module = data(root, num_workers=num_workers)
        trainer(tmp_path, saving, **limit).fit(resumed, datamodule=module, ckpt_path=checkpoint)
        assert resumed.seen == whole.seen[step:], step


def test_trainval_trains_without_validation(make_root: MakeRoot, tmp_path: Path) -> None:
    root = make_root({f"{i:02d}": 1 for i in range(11)}, num_points=50)
    module = SemanticKittiDataModule(root, "trainval", num_workers=0)
    task = Recorder()
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=module)
    assert len(task.seen) == 6 and task.validated == []
    with pytest.raises(UserError, match=r"data\.sequences\.val: no sequences to load; list them"):
        module.eval_dataloader("val")


def test_real_scans(shared: Path) -> None:
    root = shared / "data" / "semantickitti_mini"
    sequences = {"train": ["03"], "val": ["08"], "test": []}
    augmentation = {"rotation": RandomRotation(), "scale": RandomScale()}
    module = SemanticKittiDataModule(root, sequences=sequences, augmentation=augmentation, num_workers=2)
    batch = next(iter(module.train_dataloader()))
    assert voxel_counts(batch).tolist() == [80_000, 80_000]
    assert batch.inverse_map.min() == 0 and batch.inverse_map.max() == 159_999
    assert len(torch.unique(batch.coords, dim=0)) == 160_000
    assert sum(b.num_scans for b in module.val_dataloader()) == 5
