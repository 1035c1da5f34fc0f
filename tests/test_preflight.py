"""Configurations that cannot be meant: each is refused before anything is read, built or written, on one screen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tiny import write_control, write_dataset
from tiny_run import configure

from clusterseg.build.prepare import prepare
from clusterseg.build.refusals import check
from clusterseg.build.training import build
from clusterseg.commands.front_door import run as command
from clusterseg.commands.train import train
from clusterseg.config.determinism import statement
from clusterseg.config.signatures import mistakes
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.errors import UserError

#: The command line, and what the message must hold: the key, what was wrong, the remedy.
WRONG = [
    ("trainer.max_epoch=3", ["trainer.max_epoch: no such key", "did you mean trainer.max_epochs?"]),
    ("lr=0.1", ["lr: no such key", "optim.optimizer.lr"]),
    ("model=spvnas_clusters", ["model=spvnas_clusters", "did you mean spvnas_cluster?", "minkunet"]),
    ("experiment=recipe/spvna", ["experiment=recipe/spvna", "did you mean recipe/spvnas?", "demo"]),
    ("data/label_map=semantickitti_release", ["data.label_map=NAME"]),
    ("modle=spvnas", ["modle", "did you mean model?"]),
    ("trainer=3", ["group", "trainer=cpu"]),
    ("data.sequences.train=[00,", ["data.sequences.train=[00,", "key=[a,b]"]),
    ("+data.batchsize=3", ["data.batchsize", "did you mean batch_size?"]),
    ("optim.optimizer.dampening=0.1", ["optim.optimizer.dampening", "+optim.optimizer.dampening="]),
    ("data.batch_size=two", ["data.batch_size=two", "expected an integer", "--help"]),
    ("data.max_scans=two", ["data.max_scans=two", "expected an integer of at least 1 or null"]),
    ("trainer.max_epochs=1.5", ["trainer.max_epochs=1.5", "expected an integer"]),
    ("seed=x", ["seed=x", "expected an integer"]),
    ("data.voxel_size=[1]", ["data.voxel_size=[1]", "expected a number"]),
    ("model=spvnas_cluster model.cluster.momentum=high", ["model.cluster.momentum=high", "expected a number"]),
    ("trainer.precision=17", ["trainer.precision=17", "'bf16-mixed'"]),
    ("on_nan=ignore", ["on_nan=ignore", "'stop' or 'skip'"]),
    ("model.cluster.momentum=0.9", ["model.cluster is null", "model=spvnas_cluster"]),
    ("model/cluster=reference", ["model/cluster", "model=spvnas_cluster"]),
    ("model=spvnas_cluster model.cluster.tap=middle", ["model.cluster.tap=middle", "bottleneck, decoder"]),
    ("model=spvnas_cluster model.cluster.momentum=2", ["model.cluster.momentum", "from 0 to 1"]),
    ("model=spvnas_cluster model.cluster.assignment=even", ["model.cluster.assignment=even", "'step' or 'queue'"]),
    ("model=spvnas_cluster model.cluster.same_class_negatives=2", ["same_class_negatives=2", "from 0 to 1"]),
    ("data.protocol=trainval data.sequences.val=[08]", ["data.protocol=trainval", "08", "the last checkpoint counts"]),
    ("callbacks.best.monitor=val/mIoU", ["callbacks.best.monitor=val/mIoU", "did you mean val/miou?"]),
    ("callbacks.best.mode=up", ["callbacks.best", "min, max"]),
    ("callbacks.lr._target_=pytorch_lightning.callbacks.Rate", ["callbacks.lr._target_", "ModuleNotFound"]),
    ("callbacks.last.every_n_steps=0", ["callbacks.last.every_n_steps=0", "at least 1"]),
    ("trainer=ddp", ["trainer.accelerator=gpu", "no GPU", "trainer=ddp_cpu"]),
    ("trainer=cpu trainer.devices=64", ["trainer.devices=64", "set trainer.devices to 4 or less"]),
    ("trainer.devices=[5]", ["trainer.devices=[5]", "set trainer.devices to 4 or less"]),
    ("trainer.devices=0", ["trainer.devices=0", "1 or more"]),
    ("trainer=cpu trainer.precision=16-mixed", ["trainer.precision=16-mixed", "bf16-mixed"]),
    ("trainer.precision=64-true", ["trainer.precision=64-true", "32-true"]),
    ("sparse.backend=triton", ["sparse.backend=triton", "needs a GPU", "sparse.backend=auto"]),
    ("trainer.max_epochs=0", ["trainer.max_epochs=0", "1 or more"]),
    ("trainer.max_epochs=-1", ["max_epochs=-1", "no end"]),
    ("trainer.limit_train_batches=-2", ["trainer.limit_train_batches=-2", "0 or more"]),
    ("+loss.ce.label_smoothing=2", ["loss.ce.label_smoothing=2", "from 0 to 1"]),
    ("+loss.ce.class_weights={default: 1, lorry: 2}", ["loss.ce.class_weights: got lorry", "car, bicycle"]),
    (
        "optim.scheduler._target_=clusterseg.optim.multi_step +optim.scheduler={milestones: [9], length: 9}",
        ["below the"],
    ),
    ("augmentation=lasermix +data.augmentation.lasermix.areas=3", ["data.augmentation.lasermix.areas: ", "num_areas"]),
    ("optim.optimizer.lr=-1", ["optim", "learning rate", "-1"]),
    ("optim.optimizer.momentum=0", ["Nesterov momentum requires a momentum"]),
    ("model.backbone.dropout=7", ["model.backbone", "dropout probability"]),
    ("model.backbone.control=nowhere", ["model.backbone.control", "nowhere"]),
]

LEGAL = [
    *(f"model={name}{head}" for name in ("spvnas", "spvcnn", "minkunet") for head in ("", "_cluster")),
    *(f"model={name}_cluster" for name in ("minkunet34", "minkunet34v2", "spvcnn18", "spvcnn34")),
    "experiment=demo",
    "experiment=overfit",
    *(f"logger={name}" for name in ("none", "tensorboard", "wandb")),
    "trainer=ddp_cpu",
    "trainer=cpu trainer.devices=4 trainer.num_nodes=2",
    "trainer.devices=auto",
    "trainer.precision=bf16-mixed trainer.gradient_clip_val=1",
    "trainer.limit_train_batches=0.5 trainer.limit_val_batches=3 +trainer.max_time='00:01:00:00'",
    "trainer.max_steps=10 trainer.max_epochs=-1",
    "optim=adamw +optim.optimizer.betas=[0.9,0.99] optim.optimizer.lr=1e-3",
    "optim.optimizer.lr=0 optim.optimizer.weight_decay=0",
    "data.sequences.train=[00,02] data.sequences.val=8 data.max_scans=3",
    "data.sequences={train: [0], val: []}",
    "data.protocol=trainval",
    "data.max_voxels=null data.num_workers=2 data.voxel_size=1",
    "data.augmentation.flip={_target_: clusterseg.data.transforms.RandomFlip}",
    "augmentation=laser_polarmix data.augmentation.rotation=null +data.augmentation.laser_polarmix.weights=[1,3]",
    "augmentation=cutmix +data.augmentation.cutmix.classes=[car] data.cache=banks",
    "+loss.ce.label_smoothing=0.1 +loss.ce.class_weights={default: 1, car: 0.5}",
    "optim.scheduler._target_=clusterseg.optim.multi_step +optim.scheduler={milestones: [24, 32], length: 36}",
    "optim.scheduler._target_=clusterseg.optim.one_cycle optim.scheduler.warmup_fraction=0.3",
    "data=streets data.recipe.scans=3 data.recipe.sequences=[0,8]",
    "model=spvnas_cluster model.cluster.clusters_per_class={default: 3, car: 4} model.cluster.projection=[]",
    "model=spvnas_cluster model/cluster=reference model.cluster.tap=decoder",
    *(
        f"model=minkunet_cluster model/cluster={name}"
        for name in ("none", "class_contrast", "improved", "prototypes", "placebo")
    ),
    "model=spvnas_cluster model.cluster={views: 2, anchors_from: things, assignment: nearest, merge_above: 0.9}",
    "callbacks.best.monitor=val/iou/car callbacks.last.every_n_steps=null",
    "~trainer.devices ~data.protocol ~data.sequences",
    "+callbacks.early._target_=pytorch_lightning.callbacks.EarlyStopping +callbacks.early.monitor=val/miou",
    "deterministic=warn on_nan=skip sparse.backend=auto",
    "ckpt=last model.init_from=weights.pt loss=ce",
]


@pytest.fixture(autouse=True)
def four_cores_and_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)


def split(line: str) -> list[str]:
    """Overrides of a line; those in braces hold spaces."""
    parts: list[str] = []
    for word in line.split(" "):
        whole = not parts or parts[-1].count("{") == parts[-1].count("}")
        parts = [*parts, word] if whole else [*parts[:-1], f"{parts[-1]} {word}"]
    return parts


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("line", "expected"), WRONG, ids=[line for line, _ in WRONG])
def test_a_wrong_configuration_is_refused_on_one_screen(
    line: str,
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    given = [*split(line), f"data.root={tmp_path / 'no data is read'}", f"hydra.run.dir={run}"]
    monkeypatch.setattr("sys.argv", ["train.py", *given])
    with pytest.raises(SystemExit) as exit_:
        command("train", sys.argv[1:])
    said = capsys.readouterr().err
    assert exit_.value.code == 2
    assert said.startswith("error: ")
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 24
    missing = [part for part in expected if part not in said]
    assert not missing, said
    kept = {path.relative_to(run).parts[0] for path in run.rglob("*")}
    assert kept <= {".hydra", "train.log", "outcome.json"}, "nothing that looks like a run but its failure"


class ReachedError(Exception):
    """Everything but the data has been built."""


def reached(data: ScanDataModule, stage: str) -> None:
    raise ReachedError


@pytest.mark.parametrize("line", LEGAL)
def test_a_legal_configuration_passes(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure("train", *split(line), "model.init_from=null", "ckpt=null")
    monkeypatch.setattr(ScanDataModule, "setup", reached)
    with pytest.raises(ReachedError):
        build(prepare(config), tmp_path)
    assert not list(tmp_path.iterdir()), "nothing is written before data is read"


def test_the_machine_of_a_gpu_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for line in ("trainer=ddp", "trainer=gpu trainer.devices=2", "trainer=gpu trainer.precision=16-mixed"):
        check(configure("train", *split(line)))
    for devices in ("8", "[0,2]"):
        with pytest.raises(UserError, match=r"trainer\.devices=.*2 GPU.*set trainer\.devices to 2 or less"):
            check(configure("train", "trainer=ddp", f"trainer.devices={devices}"))


def test_an_early_stop_needs_scores(tmp_path: Path) -> None:
    early = "+callbacks.early._target_=pytorch_lightning.callbacks.EarlyStopping +callbacks.early.monitor=val/miou"
    with pytest.raises(UserError, match=r"callbacks\.early\.monitor=val/miou.*data\.sequences\.val=\[08\]"):
        build(prepare(configure("train", *split(early), "data.protocol=trainval")), tmp_path)


def test_other_commands_give_the_nearest_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["predict.py", "inputs=scan.bin"])
    with pytest.raises(SystemExit):
        command("predict", sys.argv[1:])
    assert "inputs: no such key (did you mean input?)" in capsys.readouterr().err


def test_data_without_a_label_map_or_a_reader(tmp_path: Path) -> None:
    module, reader = "clusterseg.data.datamodule.ScanDataModule", "clusterseg.data.semantickitti.SemanticKittiReader"
    for data, message in (
        (f"{{_target_: {module}, reader: null}}", r"data\.reader=null: expected a Reader, by its _target_"),
        (f"{{_target_: {module}, reader: {{_target_: {reader}, root: x}}}}", r"data: .*label_map"),
        ("{_target_: pytorch_lightning.LightningDataModule}", r"data\._target_=.*expected a .*ScanDataModule"),
    ):
        config = configure("train", "~data", f"+data={data}", "~augmentation")
        with pytest.raises(UserError, match=message):
            build(prepare(config), tmp_path)


def test_an_error_of_the_system_in_a_command_is_no_matter_of_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device", "some/file")

    monkeypatch.setattr("clusterseg.commands.predict.predict", broken)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        command("predict", ["input=a", "output=b"])


@pytest.mark.usefixtures("unchecked")
def test_a_bug_in_what_a_setting_builds_is_not_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("clusterseg.backbone.spvnas.parse_control", lambda _: "no table")
    with pytest.raises(AttributeError, match="stem"):
        build(prepare(configure("train")), tmp_path)


def test_a_setting_of_a_parent_class_is_known() -> None:
    target = "clusterseg.synthetic.datamodule.StreetsDataModule"
    assert list(mistakes({"_target_": target, "root": "x", "batch_size": 2, "recipe": {"scans": 1}}, "data")) == []
    assert list(mistakes({"_target_": target, "batch_size": "2"}, "data")) == [
        "data.batch_size=2: expected an integer of at least 1"
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The settings of a run of one step in the folder ``run``."""
    folder = tmp_path_factory.mktemp("resume")
    settings = [
        f"data.root={write_dataset(folder / 'data', {'00': 2})}",
        "data.sequences={train: [0], val: []}",
        "data.num_workers=0",
        f"model.backbone.control={write_control(folder / 'net.config')}",
        "trainer=cpu",
        "trainer.max_steps=1",
    ]
    train(configure("train", *settings), folder / "run")
    return [*settings, f"ckpt={folder / 'run' / 'checkpoints' / 'last.ckpt'}"]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("model=spvnas_cluster", "model.cluster: null -> {...}"),
        ("model=minkunet", "model.backbone._target_: clusterseg.backbone.SPVNAS -> clusterseg.backbone.MinkUNet"),
        ("model.backbone.control=spvnas_small", "model.backbone.control: another network"),
        ("optim=adamw", "optim.optimizer._target_: torch.optim.SGD -> torch.optim.AdamW"),
    ],
)
def test_a_checkpoint_of_another_model_is_not_resumed(
    trained: list[str], tmp_path: Path, other: str, expected: str
) -> None:
    kept = [text for text in trained if other.startswith("optim") or "control" not in text]
    with pytest.raises(UserError) as caught:
        train(configure("train", *kept, other), tmp_path)
    told = str(caught.value)
    assert "last.ckpt is of another model or optimiser" in told
    assert expected in told
    assert "model.init_from=" in told
    assert len(told.splitlines()) <= 12
    assert not (tmp_path / "config.yaml").exists()


def test_published_weights_are_no_run_to_resume(trained: list[str], tmp_path: Path) -> None:
    ckpt = trained[-1].removeprefix("ckpt=")
    whole = torch.load(ckpt, weights_only=True)
    torch.save({key: whole[key] for key in ("state_dict", "config")}, tmp_path / "published.ckpt")
    with pytest.raises(UserError, match=r"no training to resume; .*model\.init_from=.*published\.ckpt"):
        train(configure("train", *trained[:-1], f"ckpt={tmp_path / 'published.ckpt'}"), tmp_path / "run")


def test_other_settings_are_told_when_a_run_is_resumed(
    trained: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "clusterseg")
    train(configure("train", *trained, "optim.optimizer.lr=0.5", "trainer.max_steps=2"), tmp_path)
    assert "optim.optimizer.lr: 0.03 -> 0.5" in caplog.text
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job"], ["--cfg", "job", "--resolve"]])
def test_help_and_configuration_are_shown(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "model=minkunet_cluster", *flags])
    try:
        command("train", sys.argv[1:])
    except SystemExit as exit_:  # --help ends by one
        assert exit_.code == 0
    said = capsys.readouterr().out
    assert "on_nan: stop" in said
    assert "ramp_steps: 500" in said, "the values of the choices made"
    # Hydra does not break a list of choices, and there are many models, recipes and data sets.
    lists = ("model: ", "experiment/recipe: ", "data: ", "data/label_map: ")
    assert max(len(line) for line in said.splitlines() if not line.startswith(lists)) <= 125


def test_what_is_not_deterministic_is_told() -> None:
    assert "same bits" in statement("cpu", "native", 2)
    assert "not held to it" not in statement("cuda", "native", 1)
    for engine in ("triton", "torchsparse", "spconv"):
        assert f"not held to it: sparse.backend={engine}" in statement("cuda", engine, 1)
    assert "not held to it" not in statement("cuda", "auto", 1), "auto takes the native one"
    assert "NCCL" in statement("cuda", "native", 8)
