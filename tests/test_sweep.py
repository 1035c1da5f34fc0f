"""Sweeps: presets, launchers, Optuna, and how they end."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from lightning_fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from omegaconf import DictConfig, OmegaConf
from tiny import write_control, write_dataset

from clusterseg.commands.front_door import run as command
from clusterseg.config.suggestions import composition_mistake
from clusterseg.errors import UserError
from clusterseg.files import CONF
from clusterseg.runs.outcome import read_outcome
from clusterseg.sweeps.callback import objective

Sweep = Callable[..., tuple[int, str]]
PRESETS = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [*overrides], return_hydra_config=True)


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sweep:
    """Run train.py -m on tiny scans into ``sweep``; returns its exit status and what it says."""
    fixed = [
        f"data.root={write_dataset(tmp_path / 'data', {'00': 4, '08': 1})}",
        "data.sequences.train=[00]",
        "data.sequences.val=[08]",
        "data.num_workers=0",
        f"model.backbone.control={write_control(tmp_path / 'net.config')}",
        "optim=adamw",
        "trainer=cpu",
        "trainer.max_epochs=1",
        "callbacks.pictures=null",
        "callbacks.dashboard=null",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    ]

    def run(*arguments: str) -> tuple[int, str]:
        given = {argument.partition("=")[0] for argument in arguments}
        used = [argument for argument in fixed if argument.partition("=")[0] not in given]
        mode = [] if "hydra.mode=RUN" in arguments else ["-m"]
        monkeypatch.setattr("sys.argv", ["train.py", *mode, *used, *arguments])
        try:
            command("train", sys.argv[1:])
        except SystemExit as exit_:
            told = capfd.readouterr()
            return int(exit_.code or 0), told.out + told.err
        told = capfd.readouterr()
        return 0, told.out + told.err

    return run


def groups(folder: Path) -> dict[str, int]:
    """The groups of a sweep's table, with their numbers of runs."""
    return {group["group"]: len(group["runs"]) for group in json.loads((folder / "summary.json").read_text())["groups"]}


def test_a_sweep_ends_with_its_table(sweep: Sweep, tmp_path: Path) -> None:
    """A run that fails neither stops the others nor is hidden."""
    status, said = sweep("model.backbone.dropout=0.0,2.0,0.1")
    assert groups(tmp_path / "sweep") == {"backbone.dropout=0": 1, "backbone.dropout=0.1": 1}
    assert (tmp_path / "sweep" / "summary.png").is_file()
    assert "val/miou in percent" in said
    assert status == 2
    failed = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(failed) == 1
    assert str(tmp_path / "sweep" / "1") in failed[0]
    assert "dropout" in failed[0]
    states = [read_outcome(tmp_path / "sweep" / name) for name in "012"]
    assert [state and state.state for state in states] == ["finished", "failed", "finished"]


def test_a_bug_in_a_run_is_logged_and_the_others_go_on(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(config: DictConfig, run_dir: Path) -> dict[str, float]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("clusterseg.commands.train.train", broken)
    status, said = sweep("seed=1,2")
    assert status == 2
    assert "error: " in said and "ZeroDivisionError: a bug" in said
    assert all("Traceback" in (tmp_path / "sweep" / name / "train.log").read_text() for name in "01")


def test_other_ranks_run_the_job_and_not_the_sweep(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are started with the command line; as a command line of its own it composes the same configuration."""
    seen = []

    def listen(config: DictConfig, run_dir: Path) -> None:
        seen.append((config, sys.argv[1:], HydraConfig.get().run.dir))

    monkeypatch.setattr("clusterseg.commands.train.train", listen)
    assert sweep("sweep=tap", "seed=5,6")[0] == 0
    assert len(seen) == 4
    for number, (config, arguments, folder) in enumerate(seen):
        again = composed(*arguments)
        assert (again.hydra.mode.name, folder) == ("RUN", str(tmp_path / "sweep" / str(number)))
        assert (again.seed, again.model.cluster.tap) == (config.seed, config.model.cluster.tap)
        assert not any(argument in ("-m", "--multirun") for argument in arguments)
    assert "-m" in sys.argv


@pytest.mark.parametrize("runs", [1, 2])
def test_a_rank_that_failed_ends_its_job_only(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    """Nor does one that hangs stay. Lightning's thread that watches the ranks would kill this process meanwhile."""
    watchmen, killed = [], []
    monkeypatch.setattr("clusterseg.sweeps.callback.GRACE", 0.5)
    monkeypatch.setattr(_ChildProcessObserver, "_terminate_all", killed.append)

    def lose_a_rank(config: DictConfig, run_dir: Path) -> None:
        ranks = [subprocess.Popen([sys.executable, "-c", code]) for code in ("exit(2)", "input()")]
        watchmen.append((_ChildProcessObserver(os.getpid(), [*ranks], sleep_period=2), ranks))
        watchmen[-1][0].start()
        raise UserError("a rank is lost")

    monkeypatch.setattr("clusterseg.commands.train.train", lose_a_rank)
    status, said = sweep("seed=1,2") if runs > 1 else sweep("hydra.mode=RUN", f"hydra.run.dir={tmp_path / 'run'}")
    assert (status, said.count("error: "), len(watchmen)) == (2, runs, runs)
    for watchman, ranks in watchmen:
        watchman.join(10)
        assert not watchman.is_alive()
        assert None not in [rank.returncode for rank in ranks]
    assert killed == []


def test_joblib_runs_side_by_side(sweep: Sweep, tmp_path: Path) -> None:
    """Their failures are known here although they are other processes."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    status, said = sweep("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "model.backbone.dropout=0.0,2.0")
    assert groups(tmp_path / "sweep") == {"all": 1}
    assert status == 2
    assert f"error: {tmp_path / 'sweep' / '1'}: model.backbone" in said


def test_optuna_completes_prunes_and_fails_trials(sweep: Sweep, tmp_path: Path) -> None:
    """Sweeps that go on with one study: a good trial, one that does not learn, two with a wrong metric, a short one."""
    optuna = pytest.importorskip("optuna")
    from clusterseg.sweeps.optuna import open_study

    space = ["sweep=optuna", "model=spvnas", "hydra.sweeper.params=null", "hydra.sweeper.pruner.n_startup_trials=1"]
    rate = "optim.optimizer.lr=interval({},{})"
    assert sweep(*space, rate.format(0.02, 0.021), "hydra.sweeper.n_trials=1", "trainer.max_epochs=4")[0] == 0
    status, said = sweep(*space, rate.format(0.0, 1e-9), "hydra.sweeper.n_trials=1", "trainer.max_epochs=4")
    assert (status, "pruned" in said) == (0, True)
    status, said = sweep(*space, rate.format(0.0, 0.1), "hydra.sweeper.n_trials=2", "optimize=val/nonsense")
    assert status == 2
    assert "val/nonsense" in said and "val/miou" in said
    status, _ = sweep(*space, rate.format(0.02, 0.021), "hydra.sweeper.n_trials=1", "trainer.max_steps=2")
    assert status == 0, "what failed in an earlier sweep is no failure of this one"
    trials = open_study(str(tmp_path / "sweep" / "study.journal"), "maximize").trials
    states = optuna.trial.TrialState
    assert [trial.state for trial in trials] == [
        states.COMPLETE,
        states.PRUNED,
        states.FAIL,
        states.FAIL,
        states.COMPLETE,
    ]
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()) == ["0", "1", "2", "3", "4"]
    assert list(trials[0].intermediate_values) == [2, 4, 6, 8], "each validation"
    assert trials[0].value == trials[0].intermediate_values[8]
    assert len(trials[1].intermediate_values) < 4, "it was ended early"
    assert trials[1].value == trials[1].intermediate_values[trials[1].last_step]
    assert trials[0].params["optim.optimizer.lr"] == OmegaConf.load(tmp_path / "sweep/0/config.yaml").optim.optimizer.lr
    outcome = read_outcome(tmp_path / "sweep" / "1")
    assert outcome is not None and (outcome.state, outcome.message) == ("pruned", f"at step {trials[1].last_step}")
    assert (tmp_path / "sweep" / "1" / "checkpoints" / "last.ckpt").is_file()
    best = OmegaConf.load(tmp_path / "sweep" / "optimization_results.yaml")
    assert (best.best_trial, best.best_value) == (0, pytest.approx(trials[0].value))


def test_a_sweep_ends_the_abandoned_trials_of_its_own_folder_only(tmp_path: Path) -> None:
    """Others may share the study, and go on."""
    optuna = pytest.importorskip("optuna")
    from hydra_plugins.clusterseg_optuna import SWEEP, _end_abandoned, _place

    assert _place(tmp_path / "a", str(tmp_path / "a" / "study.journal")) == ".", "so it may be moved"
    study = optuna.create_study()
    for sweep in (".", "../other"):
        study.ask().set_user_attr(SWEEP, sweep)
    _end_abandoned(study, ".")
    states = optuna.trial.TrialState
    assert [trial.state for trial in study.trials] == [states.FAIL, states.RUNNING]


@pytest.mark.parametrize(
    ("sweep_", "low", "high", "log", "step", "kind"),
    [
        ("interval(0.1,1)", 0.1, 1, False, None, "FloatDistribution"),
        ("tag(log,interval(0.1,1.0))", 0.1, 1, True, None, "FloatDistribution"),
        ("int(interval(1,9))", 1, 9, False, 1, "IntDistribution"),
        ("tag(log,int(interval(1,9)))", 1, 9, True, 1, "IntDistribution"),
        ("range(2,9,3)", 2, 8, False, 3, "IntDistribution"),
        ("range(0.0,1.0,0.25)", 0, 0.75, False, 0.25, "FloatDistribution"),
    ],
)
def test_a_search_space(sweep_: str, low: float, high: float, log: bool, step: float | None, kind: str) -> None:
    pytest.importorskip("optuna")
    from hydra_plugins.clusterseg_optuna import distribution

    found: Any = distribution(OverridesParser.create().parse_override(f"key={sweep_}"))
    assert type(found).__name__ == kind
    assert (found.low, found.high, found.log, found.step) == (low, high, log, step)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("optim.optimizer.lr=tag(log,interval(0,1))", "optim.optimizer.lr=tag(log,interval(0,1)): "),
        ("hydra.sweeper.n_jobs=0", "hydra.sweeper.n_jobs=0: expected"),
    ],
)
def test_a_search_that_cannot_be_is_told(sweep: Sweep, tmp_path: Path, wrong: str, told: str) -> None:
    pytest.importorskip("optuna")
    status, said = sweep("sweep=optuna", wrong)
    assert status == 2
    assert f"error: hydra.sweeper.params: {told}" in said or f"error: {told}" in said
    assert "Traceback" not in said
    assert not (tmp_path / "sweep" / "0").exists()


def test_choices_of_a_search_space() -> None:
    pytest.importorskip("optuna")
    from hydra_plugins.clusterseg_optuna import distribution

    parse = OverridesParser.create().parse_override
    found: Any = distribution(parse("key=1,0.5,ce,'a b',true,null"))
    assert found.choices == (1, 0.5, "ce", "'a b'", True, "null"), "as they are written on a command line"
    assert distribution(parse("key=1,2")) == distribution(parse("key=choice(1,2)"))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_sweep_settings_that_there_are(preset: str) -> None:
    config = composed(f"sweep={preset}", "seed=4")
    assert (
        (CONF / "sweep" / f"{preset}.yaml")
        .read_text()
        .splitlines()[1]
        .startswith(f"# python train.py -m sweep={preset} ")
    )
    assert config.hydra.mode.name == "MULTIRUN"
    assert config.seed == 4
    missing = object()
    assert config.hydra.sweeper.params
    for key in config.hydra.sweeper.params:
        assert OmegaConf.select(config, key, default=missing) is not missing


def test_a_preset_gives_way_to_the_command_line() -> None:
    config = composed("sweep=clusters", "model=minkunet_cluster", "hydra.sweeper.params=null")
    assert config.model.backbone._target_ == "clusterseg.backbone.MinkUNet"
    assert config.hydra.sweeper.params is None


@pytest.mark.parametrize(("launcher", "plugin"), [("slurm", "submitit"), ("ray_gpu", "ray")])
def test_launchers_of_clusters(launcher: str, plugin: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher")
    settings = composed(f"hydra/launcher={launcher}").hydra.launcher
    assert settings._target_.startswith(f"hydra_plugins.hydra_{plugin}_launcher.")
    assert settings.get("gpus_per_node", OmegaConf.select(settings, "ray.remote.num_gpus")) == 1


def test_a_launcher_that_is_not_installed() -> None:
    error = ConfigCompositionException("In 'hydra/launcher/slurm': Could not load 'hydra/launcher/submitit_slurm'.")
    assert "pip install 'clusterseg[submitit]'" in str(composition_mistake(error, CONF, "train", []))


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [({"val/miou": 0.5}, 0.5), ({}, None), ({"val/miou": math.nan}, None), ({"val/miou": -math.inf}, None)],
)
def test_what_a_sweeper_gets_to_know(metrics: dict[str, float], expected: float | None) -> None:
    assert objective(OmegaConf.create({"optimize": "val/miou"}), metrics) == expected
