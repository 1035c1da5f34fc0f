"""Tables and plots of sets of runs, whose folders are written here by hand."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from clusterseg.commands.front_door import run
from clusterseg.errors import UserError
from clusterseg.runs.loggers import CsvLogger
from clusterseg.runs.outcome import Outcome
from clusterseg.sweeps.summary import find_runs, print_summary, read_run, summarise, summary_figure

Curve = list[tuple[int, float]]


def write_run(
    folder: Path,
    curve: Curve,
    config: dict[str, Any] | None = None,
    choices: dict[str, str] | None = None,
    state: str | None = "finished",
) -> Path:
    """A run's folder; the IoU of car is twice the score, that of road three times."""
    folder.mkdir(parents=True)
    config = config or {"seed": 1}
    OmegaConf.save(config, folder / "config.yaml")
    if choices is not None:
        (folder / ".hydra").mkdir()
        OmegaConf.save(config, folder / ".hydra" / "config.yaml")
        OmegaConf.save({"hydra": {"runtime": {"choices": choices}}}, folder / ".hydra" / "hydra.yaml")
    with open(folder / "metrics.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "step", "train/loss", "val/iou/car", "val/iou/road", "val/miou"])
        for step, score in curve:
            writer.writerow([0, step, 1.5, "", "", ""])
            writer.writerow([0, step, "", 2 * score, 3 * score, score])
    if state is not None:
        Outcome(state, "by hand").write(folder)
    return folder


def settings(seed: int, momentum: float = 0.9, **more: Any) -> dict[str, Any]:
    return {"seed": seed, "data": {"seed": seed}, "model": {"cluster": {"momentum": momentum}}} | more


def test_means_and_deviations(tmp_path: Path) -> None:
    """Two seeds: best 0.30 and 0.34, last 0.20 and 0.34; one run of another setting."""
    write_run(tmp_path / "0", [(1, 0.30), (3, 0.20)], settings(1))
    write_run(tmp_path / "1", [(1, 0.10), (3, 0.34)], settings(2))
    write_run(tmp_path / "2", [(1, 0.31)], settings(1, momentum=0.99))
    summary = summarise([str(tmp_path)])
    first, second = summary.groups
    assert [first.label, second.label] == ["cluster.momentum=0.9", "cluster.momentum=0.99"], "the better one first"
    assert (first.best.mean, first.best.std) == pytest.approx((0.32, 0.04 / math.sqrt(2)))
    assert (first.last.mean, first.last.std) == pytest.approx((0.27, 0.14 / math.sqrt(2)))
    assert first.top.folder.name == "1"
    assert (first.iou["car"].mean, first.iou["road"].mean) == pytest.approx((0.64, 0.96)), "at the best validation"
    assert [(step, spread.mean) for step, spread in first.curve] == [(2, pytest.approx(0.2)), (4, pytest.approx(0.27))]
    assert second.best.std is None
    assert not summary.others


def test_the_files_and_the_tables_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "0", [(1, 0.30)], settings(1))
    write_run(tmp_path / "1", [(1, 0.34)], settings(2))
    write_run(tmp_path / "2", [(1, 0.25)], settings(1, momentum=0.99), state="pruned")
    run("summary", [str(tmp_path)])
    said = capsys.readouterr().out
    assert "32.00 ± 2.83" in said
    assert "34.00 (1)" in said
    assert "pruned" in said
    with open(tmp_path / "summary.csv", newline="") as file:
        (line,) = csv.DictReader(file)
    assert (line["group"], line["runs"]) == ("all", "2")
    assert float(line["best_mean"]) == pytest.approx(0.32)
    assert float(line["iou/car_std"]) == pytest.approx(0.08 / math.sqrt(2))
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["groups"][0]["best"]["mean"] == pytest.approx(0.32)
    assert [run["run"] for run in content["groups"][0]["runs"]] == ["0", "1"]
    assert [(run["run"], run["state"]) for run in content["not_counted"]] == [("2", "pruned")]
    assert (tmp_path / "summary.png").read_bytes().startswith(b"\x89PNG")


def test_the_plot_has_a_line_a_group_and_a_dot_a_run(tmp_path: Path) -> None:
    for index, (seed, momentum) in enumerate([(1, 0.9), (2, 0.9), (1, 0.99)]):
        write_run(tmp_path / str(index), [(1, 0.1), (3, 0.2 + 0.1 * seed)], settings(seed, momentum))
    left, right = summary_figure(summarise([str(tmp_path)])).axes
    assert sorted(tuple(line.get_ydata()) for line in left.lines) == [
        pytest.approx((10.0, 30.0)),
        pytest.approx((10.0, 35.0)),
    ]
    dots = [value for line in right.lines if line.get_marker() == "o" for value in line.get_xdata()]
    assert sorted(dots) == pytest.approx([30.0, 30.0, 40.0])
    assert [text.get_text() for text in right.get_yticklabels()] == [
        "#1 cluster.momentum=0.9",
        "#2 cluster.momentum=0.99",
    ]


def test_groups_are_named_by_what_was_chosen(tmp_path: Path) -> None:
    """A choice explains the settings below it, and no others."""
    head = {"cluster": {"weight": 0.5, "momentum": 0.9}}
    runs = [
        ({"model": "spvnas"}, {"model": {"cluster": None}, "optim": {"lr": 0.1}}),
        ({"model": "spvnas_cluster", "model/cluster": "default"}, {"model": head, "optim": {"lr": 0.1}}),
        ({"model": "spvnas_cluster", "model/cluster": "default"}, {"model": head, "optim": {"lr": 0.2}}),
    ]
    for index, (choices, config) in enumerate(runs):
        write_run(
            tmp_path / str(index), [(1, 0.3 - 0.1 * index)], config | {"seed": index}, choices | {"logger": "csv"}
        )
    assert [group.settings for group in summarise([str(tmp_path)]).groups] == [
        {"model": "spvnas", "optim.lr": "0.1"},
        {"model": "spvnas_cluster", "optim.lr": "0.1"},
        {"model": "spvnas_cluster", "optim.lr": "0.2"},
    ]


def test_a_missing_part_is_named_once(tmp_path: Path) -> None:
    write_run(tmp_path / "0", [(1, 0.3)], {"seed": 1, "model": {"cluster": None}})
    write_run(tmp_path / "1", [(1, 0.2)], {"seed": 1, "model": {"cluster": {"weight": 0.5, "momentum": 0.9}}})
    labels = [group.label for group in summarise([str(tmp_path)]).groups]
    assert labels == ["model.cluster=null", "model.cluster=set"]


def test_equal_ends_of_keys_and_close_numbers_stay_apart(tmp_path: Path) -> None:
    for index, rate in enumerate([0.123456, 0.123457]):
        config = {"seed": 1, "a": {"optimizer": {"lr": rate}}, "b": {"optimizer": {"lr": index}}}
        write_run(tmp_path / str(index), [(1, 0.3)], config)
    assert {group.label for group in summarise([str(tmp_path)]).groups} == {
        "a.optimizer.lr=0.1235, b.optimizer.lr=0",
        "a.optimizer.lr=0.1235, b.optimizer.lr=1",
    }
    for index, rate in enumerate([0.123456, 0.123457]):
        write_run(tmp_path / "close" / str(index), [(1, 0.3)], {"seed": 1, "lr": rate})
    assert {group.label for group in summarise([str(tmp_path / "close")]).groups} == {"lr=0.123456", "lr=0.123457"}


def test_runs_that_do_not_count_are_listed_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "0", [(1, 0.3)], settings(1))
    write_run(tmp_path / "1", [(1, 0.1)], settings(1), state="failed")
    write_run(tmp_path / "2", [(1, 0.1)], settings(1), state=None)
    write_run(tmp_path / "3", [], settings(1))
    (tmp_path / "4").mkdir()
    (write_run(tmp_path / "5", [(1, 0.1)], settings(1)) / "metrics.csv").write_bytes(b"step,val/miou\n1,\xff\xfe\x00")
    (write_run(tmp_path / "6", [(1, 0.1)], settings(1)) / "metrics.csv").write_text("step,val/miou\n1,0.1\n3,0.")
    (write_run(tmp_path / "7", [(1, 0.1)], settings(1)) / "metrics.csv").write_text("step,val/miou\none,0.1\n")
    (write_run(tmp_path / "8", [(1, 0.1)], settings(1)) / "config.yaml").write_text("a: [1, 2\nb: }{")
    (write_run(tmp_path / "9", [(1, 0.1)], settings(1)) / "metrics.csv").write_bytes(b"")
    (write_run(tmp_path / "10", [(1, 0.1)], settings(1), state=None) / "outcome.json").write_text("{")
    (tmp_path / "multirun.yaml").touch()
    summary = summarise([str(tmp_path)])
    states = {run.folder.name: run.state for group in summary.groups for run in group.runs}
    assert states == {"0": "finished", "6": "finished"}
    assert [(run.folder.name, run.state) for run in summary.others] == [
        ("1", "failed"),
        ("2", "unfinished"),
        ("3", "not scored"),
        ("4", "empty"),
        ("5", "broken"),
        ("7", "broken"),
        ("8", "broken"),
        ("9", "not scored"),
        ("10", "unfinished"),
    ]
    print_summary(summary, tmp_path)
    said = capsys.readouterr().out
    assert all(state in said for state in ("failed", "by hand", "unfinished", "not scored", "empty", "broken"))


def test_brackets_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, widths in enumerate([[256, 128], [64]]):
        write_run(tmp_path / f"[{number}]", [(1, 0.3)], {"seed": 1, "projection": widths})
    Outcome("failed", "[/root/file.cc:3] closed").write(write_run(tmp_path / "2", [], settings(1)))
    run("summary", [str(tmp_path)])
    said = capsys.readouterr().out
    assert all(text in said for text in ("[256, 128]", "[64]", "([0])", "[/root/file.cc:3] closed"))


def test_only_runs_that_do_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "0", [(1, 0.3)], settings(1), state="failed")
    run("summary", [str(tmp_path)])
    assert "failed" in capsys.readouterr().out
    assert not (tmp_path / "summary.csv").exists()


def test_scores_of_a_resumed_run(tmp_path: Path) -> None:
    """Its columns were merged, its last part was written anew; what is not a number is no score."""
    run = write_run(tmp_path / "run", [], settings(1))
    (run / "metrics.csv").unlink()
    first = CsvLogger(run)
    first.start_at(0)
    for step, score in ((1, 0.1), (3, float("nan")), (5, 0.9)):
        first.log_metrics({"val/miou": score, "val/iou/car": 0.5}, step)
    first.save()
    second = CsvLogger(run)
    second.start_at(5)
    second.log_metrics({"train/other": 1.0}, 5)
    second.log_metrics({"val/miou": 0.4, "val/iou/car": 0.6}, 5)
    second.save()
    read = read_run(run)
    assert read.curve == ((2, 0.1), (6, 0.4))
    assert read.iou == {"car": 0.6}


def test_runs_are_found_in_folders_and_by_patterns(tmp_path: Path) -> None:
    for name in ("sweep/2", "sweep/10", "single"):
        write_run(tmp_path / name, [(1, 0.3)])
    (tmp_path / "evaluate" / ".hydra").mkdir(parents=True)
    (tmp_path / "evaluate" / ".hydra" / "config.yaml").write_text("split: val\n")
    (tmp_path / "started" / ".hydra").mkdir(parents=True)
    (tmp_path / "started" / ".hydra" / "config.yaml").write_text("optim: {}\n")

    def found(*patterns: str) -> list[str]:
        return [str(folder.relative_to(tmp_path)) for folder in find_runs([str(tmp_path / name) for name in patterns])]

    assert found("") == ["single", "started", "sweep/2", "sweep/10"]
    assert found("s*le", "sweep/10") == ["single", "sweep/10"]
    assert found("sweep", "sweep/2") == ["sweep/2", "sweep/10"], "none twice"


@pytest.mark.parametrize("pattern", ["nowhere", "no*where", "evaluate"])
def test_nothing_to_summarise(tmp_path: Path, pattern: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "evaluate").mkdir()
    with pytest.raises(UserError, match=pattern.replace("*", r"\*")):
        find_runs([str(tmp_path / pattern)])
    with pytest.raises(SystemExit) as ended:
        run("summary", [str(tmp_path / pattern)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_where_the_files_go(tmp_path: Path) -> None:
    for name in ("a/0", "b/0"):
        write_run(tmp_path / name, [(1, 0.3)])
    run("summary", [str(tmp_path / "*" / "0")])
    assert (tmp_path / "summary.csv").is_file()
    run("summary", [str(tmp_path / "a"), f"output={tmp_path / 'out'}"])
    assert (tmp_path / "out" / "summary.png").is_file()
