"""Studies: the plan, the queue, the statistics and the report."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tiny import write_control, write_dataset

from clusterseg.commands.front_door import run
from clusterseg.errors import UserError
from clusterseg.sweeps.study import Plan, Result, queue, read_plan, read_results, run_study, write_report
from clusterseg.sweeps.study.comparison import compare, compare_pairs, late_gain
from clusterseg.sweeps.study.plan import FOLDER
from clusterseg.sweeps.study.queue import Workplace
from clusterseg.sweeps.study.statistics import detectable_effect, holm, paired

RESULTS = [*Path(__file__).parents[1].glob("docs/study/*/"), *Path(__file__).parents[1].glob("docs/recipes/*/")]

PLAN = """\
question: Is b better than a?
baseline: a
seeds: [1, 2, 3, 4]
common: [x=1]
arms: {a: [], b: [y=2]}
"""

#: Stands for `clusterseg train`: three steps of 0.1 s, one validation each, and a checkpoint of the step.
TRAINING = """\
import json, sys, time
from pathlib import Path
given = dict(a.split("=", 1) for a in sys.argv[1:])
folder = Path(given["hydra.run.dir"])
(folder / "starts").open("a").write("start\\n")
state = folder / "step"
for step in range(int(state.read_text()) if state.exists() else 0, 3):
    time.sleep(0.1)
    score = 0.1 * step + 0.01 * int(given["seed"]) + (0.05 if "y" in given else 0)
    new = not (folder / "metrics.csv").exists()
    with (folder / "metrics.csv").open("a") as file:
        file.write("step,val/miou,val/iou/car\\n" * new + f"{step},{score},{score}\\n")
    state.write_text(str(step + 1))
if given.get("fail") == given["seed"]:
    sys.exit(1)
(folder / "outcome.json").write_text(json.dumps({"state": "finished", "message": ""}))
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    path = tmp_path / "try.yaml"
    path.write_text(PLAN)
    return read_plan(str(path))


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    monkeypatch.setattr(queue, "PROGRAM", (sys.executable, str(script)))
    return script


def place(folder: Path, at_once: int = 2) -> Workplace:
    return Workplace(folder / "runs", folder / "out", at_once)


def made(plan: Plan, scores: dict[str, list[float]]) -> dict[str, Result]:
    """Results with given endpoints by arm, in the order of the seeds."""
    results = {}
    for cell in plan.cells():
        index = plan.seeds.index(cell.seed)
        if index < len(scores.get(cell.arm, [])):
            score = scores[cell.arm][index]
            metrics = {"val/miou": score, "val/iou/car": score / 2, "val/iou/road": 0.5}
            results[cell.name] = Result(
                cell.arm, cell.seed, cell.hash, cell.settings, metrics, ((80, score - 0.01), (100, score)), 100, 9.0, 1
            )
    return results


def test_cells_come_seed_by_seed_with_the_settings_in_order(plan: Plan) -> None:
    cells = list(plan.cells())
    assert [cell.name for cell in cells] == ["a/1", "b/1", "a/2", "b/2", "a/3", "b/3", "a/4", "b/4"]
    assert cells[1].settings == ("x=1", "y=2", "seed=1")
    assert len({cell.hash for cell in cells}) == 8


def test_settings_of_a_seed_are_in_all_its_runs_and_in_the_report(tmp_path: Path) -> None:
    path = tmp_path / "folds.yaml"
    path.write_text(PLAN.replace("[1, 2, 3, 4]", "[1, 2]") + "by_seed: {1: [z=1], 2: [z=2]}\n")
    plan = read_plan(str(path))
    settings = {cell.name: cell.settings for cell in plan.cells()}
    assert settings["a/1"] == ("x=1", "z=1", "seed=1") and settings["b/2"] == ("x=1", "z=2", "y=2", "seed=2")
    write_report(plan, made(plan, {"a": [0.5, 0.6], "b": [0.6, 0.7]}), tmp_path)
    assert "- seed 2: `z=2`\n" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("baseline: a", "baseline: c"), "baseline: got c, expected one of the arms a, b"),
        (("[1, 2, 3, 4]", "[1, 1]"), "seeds: expected distinct seeds, 0 or more"),
        (("[1, 2, 3, 4]", "[1]"), "seeds: List should have at least 2 items"),
        (("[y=2]", "[seed=3]"), "seed=3: the study sets this itself"),
        (("b: [y=2]", "'../b': []"), "cannot name a folder"),
        (("baseline: a", "baseline: a\npairs: [[a, c]]"), "pairs: got c, expected two of the arms a, b"),
        (
            ("baseline: a", "baseline: a\nby_seed: {1: [z=1], 2: [z=2]}"),
            "by_seed: got 1, 2, expected settings for each of 1, 2, 3, 4",
        ),
        (
            ("baseline: a", "baseline: a\nby_seed: {1: [], 2: [], 3: [], 4: [seed=9]}"),
            "seed=9: the study sets this itself",
        ),
        (("question:", "qestion:"), "question: Field required"),
        (("question:", "question: ["), "cannot be read as YAML"),
    ],
)
def test_a_wrong_plan_is_one_message(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(PLAN.replace(*change))
    with pytest.raises(UserError) as caught:
        read_plan(str(path))
    assert message in str(caught.value) and "wrong.yaml" in str(caught.value)


def test_an_unknown_study_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="no such study; expected one of"):
        read_plan("streats")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_of_ours_is_a_plan_whose_runs_compose(path: Path) -> None:
    from tiny_run import configure

    plan = read_plan(path.stem)
    by_choice: dict[tuple[str, ...], dict[str, None]] = {}  # arms of the same files are composed at once
    for cell in {cell.arm: cell for cell in plan.cells()}.values():
        files = tuple(setting for setting in cell.settings if "." not in setting.partition("=")[0])
        by_choice.setdefault(files, {}).update(dict.fromkeys(cell.settings))
    for settings in by_choice.values():
        configure("train", *settings)


def test_the_queue_runs_all_cells_and_repeats_none(plan: Plan, stub: Path, tmp_path: Path) -> None:
    assert run_study(plan, place(tmp_path)) == []
    results = read_results(plan, tmp_path / "out")
    assert [results[cell.name].metrics["val/miou"] for cell in plan.cells()] == pytest.approx(
        [0.2 + 0.01 * seed + bonus for seed in (1, 2, 3, 4) for bonus in (0, 0.05)]
    )
    assert dict(results["b/2"].curve) == pytest.approx({1: 0.07, 2: 0.17, 3: 0.27})
    run_study(plan, place(tmp_path))
    assert (tmp_path / "runs/a/1/starts").read_text() == "start\n"


def test_a_failed_run_is_named_and_the_others_go_on(tmp_path: Path, stub: Path) -> None:
    path = tmp_path / "try.yaml"
    path.write_text(PLAN.replace("x=1", "fail=2"))
    plan = read_plan(str(path))
    assert sorted(run_study(plan, place(tmp_path))) == ["a/2", "b/2"]
    assert len(read_results(plan, tmp_path / "out")) == 6


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL])
def test_a_killed_queue_goes_on_to_the_same_results(plan: Plan, stub: Path, tmp_path: Path, number: int) -> None:
    code = f"""
import sys
from pathlib import Path
from clusterseg.sweeps.study import queue, read_plan, run_study
queue.PROGRAM = (sys.executable, {str(stub)!r})
run_study(read_plan({str(tmp_path / "try.yaml")!r}), queue.Workplace(Path("killed/runs"), Path("killed/out"), 2))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("killed/out/*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)  # the machine goes down: the runs with it
    else:
        process.send_signal(number)
    process.wait(60)
    before = set(tmp_path.glob("killed/out/*/*.json"))
    assert 0 < len(before) < 8
    run_study(plan, place(tmp_path / "killed"))
    run_study(plan, place(tmp_path / "whole"))
    killed, whole = (read_results(plan, tmp_path / name / "out") for name in ("killed", "whole"))
    assert {name: (r.metrics, r.curve) for name, r in killed.items()} == {
        name: (r.metrics, r.curve) for name, r in whole.items()
    }
    assert len(whole) == 8


def test_results_of_another_plan_are_refused(plan: Plan, stub: Path, tmp_path: Path) -> None:
    run_study(plan, place(tmp_path), ["a"])
    (tmp_path / "try.yaml").write_text(PLAN.replace("x=1", "x=3"))
    changed = read_plan(str(tmp_path / "try.yaml"))
    with pytest.raises(UserError, match=r"other settings than the plan's \(they differ in x=1, x=3\)"):
        run_study(changed, place(tmp_path))
    (tmp_path / "out/a/1.json").write_text("{")
    with pytest.raises(UserError, match=r"1\.json: is not the result of a run"):
        read_results(plan, tmp_path / "out")
    with pytest.raises(UserError, match="holds a run of other settings"):
        run_study(changed, Workplace(tmp_path / "runs", tmp_path / "elsewhere"))
    with pytest.raises(UserError, match="arms: got c, expected some of a, b"):
        run_study(plan, place(tmp_path), ["c"])


def test_paired_differences_equal_scipys(plan: Plan) -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(0.4, 0.01, 8)
    arm = base + rng.normal(0.01, 0.01, 8)
    found = paired(dict(enumerate(arm)), dict(enumerate(base)))
    assert found is not None and found.low is not None and found.high is not None
    test = stats.ttest_rel(arm, base)
    interval = test.confidence_interval(0.95)
    assert (found.mean, found.p) == pytest.approx((np.mean(arm - base), test.pvalue))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.correlation == pytest.approx(np.corrcoef(arm, base)[0, 1])


def test_only_common_seeds_are_paired() -> None:
    found = paired({1: 0.5, 2: 0.6, 5: 9.0}, {1: 0.4, 2: 0.4, 3: -9.0})
    assert found is not None and found.pairs == 2 and found.mean == pytest.approx(0.15)
    assert paired({1: 0.5}, {2: 0.5}) is None
    one = paired({1: 0.5}, {1: 0.25})
    assert one is not None and one.mean == 0.25 and one.low is None and one.p is None


@pytest.mark.parametrize("pairs", [3, 8, 16])
def test_the_detectable_effect_is_found_in_80_of_100_simulated_studies(pairs: int) -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(detectable_effect(pairs), 1.0, (40_000, pairs))
    share = float((stats.ttest_1samp(samples, 0.0, axis=1).pvalue < 0.05).mean())
    assert share == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / 40_000))


def test_holm_equals_a_step_by_step_reading() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        values = dict(zip("abcdefg", rng.random(7) ** 3, strict=True))
        left, worst, expected = dict(values), 0.0, {}
        while left:
            name = min(left, key=lambda key: left[key])
            worst = max(worst, min(1.0, left[name] * len(left)))
            expected[name] = worst
            del left[name]
        assert holm(values) == pytest.approx(expected)
    assert holm({"a": None, "b": 0.04}) == {"a": None, "b": 0.04}


def test_the_report_says_what_the_results_say(plan: Plan, tmp_path: Path) -> None:
    results = made(plan, {"a": [0.40, 0.41, 0.42, 0.43], "b": [0.42, 0.43, 0.45]})
    for path in write_report(plan, results, tmp_path):
        assert path.is_file()
    text = (tmp_path / "report.md").read_text()
    arms = {arm.name: arm for arm in compare(plan, results)}
    b = arms["b"].against
    assert b is not None and b.pairs == 3 and b.mean == pytest.approx(0.07 / 3)
    assert arms["a"].late_gain == pytest.approx(0.01) and arms["b"].cost == pytest.approx(1.0)
    assert "7 of 8 runs finished: not complete" in text and "| +2.33 | +0.90 to +3.77 |" in text
    assert "| car | +1.17 (p 0.02) |" in text and "| road | +0.00 |" in text
    page = (tmp_path / "report.html").read_text()
    assert "+0.90 to +3.77" in page and "data:image/png" in page


def test_groups_of_metrics_and_pairs_of_arms(plan: Plan, tmp_path: Path) -> None:
    plan = replace(plan, groups={"both": ("val/iou/*",), "none at all": ("val/no",)}, pairs=(("a", "b"), ("b", "b")))
    scores = {"a": [0.40, 0.41, 0.42, 0.43], "b": [0.42, 0.43, 0.45, 0.44]}
    results = made(plan, scores)
    b = {arm.name: arm for arm in compare(plan, results)}["b"]
    # Half of the endpoint, and a class that is always 0.5.
    assert b.others["both"].mean == pytest.approx(np.mean(np.subtract(scores["b"], scores["a"])) / 4)
    assert "none at all" not in b.others
    reverse, itself = compare_pairs(plan, results)
    assert b.against is not None
    assert reverse.figures["val/miou"].mean == pytest.approx(-b.against.mean)
    assert reverse.figures["both"].mean == pytest.approx(-b.others["both"].mean)
    assert itself.figures["both"].mean == 0.0
    write_report(plan, results, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| a - b | -2.00 | -3.30 to -0.70 |" in text and "| both | +0.50" in text


@pytest.mark.parametrize("folder", sorted(RESULTS), ids=lambda folder: folder.name)
def test_the_reports_of_our_studies_follow_from_their_results(folder: Path, tmp_path: Path) -> None:
    plan = read_plan(folder.name)
    write_report(plan, read_results(plan, folder), tmp_path)
    assert (folder / "report.md").read_text() == (tmp_path / "report.md").read_text(), (
        f"clusterseg study report {folder.name}"
    )


def test_the_gain_of_the_last_fifth_needs_a_validation_there() -> None:
    result = Result("a", 1, "", (), {}, ((50, 0.3), (100, 0.4)), 100, 1.0, 1)
    assert late_gain(result) is None


def test_a_real_study_of_two_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_dataset(tmp_path / "data", {"00": 2, "08": 1})
    path = tmp_path / "real.yaml"
    common = [f"data.root={data}", "data.sequences.train=[00]", "data.sequences.val=[08]", "data.num_workers=0"]
    common += [f"model.backbone.control={write_control(tmp_path / 'net.config')}", "trainer=cpu"]
    common += ["trainer.max_epochs=1", "callbacks.pictures=null", "callbacks.dashboard=null"]
    arms = {"none": ["model=spvnas"], "cluster": ["model=spvnas_cluster"]}
    content = {"question": "?", "baseline": "none", "seeds": [1, 2], "common": common, "arms": arms}
    path.write_text(json.dumps(content))
    out = f"out={tmp_path / 'out'}"
    run("study", ["run", str(path), out, f"runs={tmp_path / 'runs'}", "arms=[none]", "at_once=2"])
    printed = capsys.readouterr()
    assert "none/1  val/miou 0." in printed.err and str(tmp_path / "out/report.html") in printed.out
    results = read_results(read_plan(str(path)), tmp_path / "out")
    assert set(results) == {"none/1", "none/2"} and results["none/1"].steps == 1
    assert f"`clusterseg study run {path}`" in (tmp_path / "out/report.md").read_text()
    path.write_text(json.dumps(content | {"arms": arms | {"cluster": ["model=spvnas_clutser"], "b": ["trainer.x=1"]}}))
    with pytest.raises(SystemExit):
        run("study", ["run", str(path), out, f"runs={tmp_path / 'others'}"])
    said = capsys.readouterr().err
    assert "arm cluster: model=spvnas_clutser: no such choice" in said and "arm b: trainer.x: no such key" in said
    assert not (tmp_path / "others/none").exists(), "before the first run"
    with pytest.raises(SystemExit):
        run("study", ["run"])
    assert "expected: clusterseg study run NAME" in capsys.readouterr().err
