"""Every command line of README, CONTRIBUTING and docs is tried: composed here, executed by `make test-slow`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from custom_folder import commands
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from page_commands import ROOT, Line, Session, block_lines, sessions, span_lines
from page_world import GIVEN, World, forget, keep_results, provide
from tiny_run import configure
from warm_process import command

from benchmarks import __main__ as benchmarks
from clusterseg.backbone.shipped import FOLDER as SHIPPED
from clusterseg.commands.front_door import COMMANDS, with_keys
from clusterseg.config.signatures import mistakes
from clusterseg.files import CONF

#: What stands for a choice and not for a file, and what makes a command short. `...` is what was said before.
SUBSTITUTES = {
    "data=mixture ...": "data=mixture data.parts.semantickitti.reader.root=DIR data.parts.pandaset.reader.root=DIR",
    "model=...": "",
    "submission ...": "submission FILE.zip",
    "hydra.run.dir=RUN ...": "hydra.run.dir=RUN data.root=DIR",
    "...": "",
    "data=NAME": "data=semanticposs",
    "recipe/NAME": "recipe/spvnas",
    "study run NAME": "study run STUDY.yaml arms=[none]",
    "clusterseg COMMAND": "clusterseg train",
    "benchmarks NAME": "benchmarks losses",
    "seed=1,2,3": "seed=1,2",
    "n_trials=50": "n_trials=2",
    "out=streets scans=20": "out=streets scans=1 sequences=[0,1,2,3,4,5,6,7,8,9,10] beams=16 azimuths=100",
    "out=streets32 scans=20": "out=streets32 scans=1 sequences=[0,8]",
    "workers=8": "workers=2",
    "epoch_scans=20000": "epoch_scans=4",
}
#: What makes a command small; trainings have more, see `World.small_training`.
SMALL = {
    "evaluate": ["data.num_workers=0", "pictures=1"],
    "predict": ["num_workers=0"],
    "check": ["pictures=1"],
    "convert-weights": ["model.backbone.control={control}"],
    "submission": ["data.root={kitti}"],  # without it all 20,351 scans must be there
}
#: Part of a command or its page, and why it is composed and not run.
COMPOSED = {
    "trainer.devices=8": "needs eight GPUs in each of two machines",
    "docs/custom.md": "test_custom_dataset.py, test_custom_backbone.py and test_custom_head.py run it",
    "benchmarks all": "is the single tables, one after the other",
    "benchmarks gpu": "needs a GPU; tests/benchmarks run its rehearsal",
    "benchmarks synthetic": "measures scans of full resolution for minutes",
    "benchmarks large": "measures a cloud of five million points for minutes",
    "benchmarks kills": "kills 30 trainings, for an hour",
    "benchmarks collisions": "starts 50 pairs of trainings, for an hour",
    "python tests/loss_curves.py": "rewrites what test_loss_curves.py compares",
    "python recoverLabels.py": "is a program of another project",
    "python tests/notebook_run.py": "stores what test_notebooks.py runs",
    "pytest": "is one of these tests",
    "make": "sets up an environment of its own",
    "pip": "needs the network, or builds the package as test_wheel.py does",
    ".ci/run": "runs these tests",
    "pre-commit": "changes the checkout",
}
SESSIONS = sessions()
LINES = list(dict.fromkeys(line for session in SESSIONS for line in session.lines))


def substituted(line: Line) -> Line:
    text = line.text
    for old, new in SUBSTITUTES.items():
        text = text.replace(old, new)
    if "data=mixture" in text:  # DIR stands for another folder each time
        text = re.sub(r"parts\.(\w+)\.reader\.root=DIR", r"parts.\1.reader.root=DIR/\1", text)
    return Line(line.page, text)


def composed_only(line: Line) -> str | None:
    """Why a line is not run; None if it is."""
    text = f"{line.page} {line.text}"
    return next((why for part, why in COMPOSED.items() if re.search(rf"(?<!\S){re.escape(part)}(?![\w-])", text)), None)


def settings(words: Sequence[str]) -> list[str]:
    """What a command sets, of a sweep the first run."""
    found = []
    for argument in with_keys(COMMANDS[words[1]], words[2:]):
        if not argument.startswith("-"):
            override = OverridesParser.create().parse_override(argument)
            swept = override.is_sweep_override() and "-m" in words
            first = next(override.sweep_string_iterator()) if swept else None
            found.append(argument if first is None else f"{override.get_key_element()}={first}")
    return found


def together() -> dict[tuple[str, ...], list[str]]:
    """What lines set that have the command and the choices of configuration groups in common."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for line in map(substituted, LINES):
        words = line.words
        if line.is_ours and words[-1] != "--help" and not any(word.startswith("--config-dir") for word in words):
            given = settings(words)
            key = (words[1], *sorted(each for each in given if (CONF / each.partition("=")[0]).is_dir()))
            groups.setdefault(key, []).extend(given)
    return groups


TOGETHER = together()


@pytest.mark.parametrize(("choices", "given"), TOGETHER.items(), ids=map(" ".join, TOGETHER))
def test_commands_compose_without_an_unknown_setting(choices: tuple[str, ...], given: list[str]) -> None:
    config = configure(choices[0].replace("-", "_"), *dict.fromkeys(given))
    if "sweep=optuna" in choices:
        config.callbacks.pruning = None  # takes its values from the sweep that runs
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    data = {key: value for key, value in (plain.pop("data", None) or {}).items() if value is not None}
    assert [*mistakes(plain), *mistakes(data, "data")] == []


def test_commands_are_known() -> None:
    names = {line.words[1] for line in map(substituted, LINES) if line.is_ours}
    assert names <= {*COMMANDS, "--help"}


def test_programs_besides_are_there() -> None:
    makefile, project = (ROOT / "Makefile").read_text(), (ROOT / "pyproject.toml").read_text()
    for line in [substituted(line) for line in LINES if not line.is_ours]:
        words = line.words
        match words:
            case ["make", target]:
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), line
            case ["pip", "install" | "wheel", *what]:
                extras = re.findall(r"clusterseg\[(\w+)\]", " ".join(what))
                assert what[-1] == "." or extras, line
                assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras), line
            case ["pytest", "-m", marker]:
                assert f'"{marker}: ' in project, line
            case ["pytest", file]:
                assert (ROOT / file).is_file(), line
            case ["python", "-m", "benchmarks", name, *_]:
                names = (*benchmarks.NAMES, *benchmarks.LONG, *benchmarks.SCRIPTS, "all", "gpu")
                assert name in names, line
            case (
                ["python", "tests/notebook_run.py", "FILE"]
                | ["python", "tests/loss_curves.py", *_]
                | [".ci/run"]
                | ["pre-commit", "install"]
                | ["python", "recoverLabels.py", *_]
            ):
                assert composed_only(line)
            case _:
                pytest.fail(f"{line.page}: {line.text}: say in this file how it is tried")


def test_the_page_that_other_tests_run_is_run_whole() -> None:
    listed = {line for heading in ("Data", "Network", "Head") for line in commands(heading)}
    assert listed == {line.text for line in LINES if line.page == "docs/custom.md"}


def test_no_substitute_and_no_reason_is_left_over() -> None:
    text = "\n".join([f"{line.page} {line.text}" for line in LINES] + [substituted(line).text for line in LINES])
    assert [part for part in (*SUBSTITUTES, *COMPOSED, *GIVEN) if part not in text] == [], "a page has changed"


def test_how_pages_are_read() -> None:
    assert block_lines("clusterseg a b=1 \\\n  c=2  # why\n\nmake x\n", "") == ["clusterseg a b=1 c=2", "make x"]
    assert block_lines("DIR/velodyne  a folder\n", "") == [] == block_lines("clusterseg: 1\n", "yaml")
    assert block_lines("unheard-of x\n", "sh") == ["unheard-of x"]
    with pytest.raises(AssertionError, match="within quotes a backslash is text"):
        block_lines("clusterseg a b='{c, \\\n d}'\n", "")
    spans = "`clusterseg train x=1` and `clusterseg train`, `python train.py ...`, `pip install`, ``clusterseg a b``"
    assert list(span_lines(f"{spans} `clusterseg\ncheck x=2`")) == ["clusterseg train x=1", "clusterseg check x=2"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.mark.slow
@pytest.mark.timeout(3600)  # on a machine that does much else
@pytest.mark.parametrize("session", SESSIONS, ids=str)
def test_a_command_runs(session: Session, tmp_path: Path, world: World) -> None:
    lines = [line for line in session.lines if composed_only(line) is None]
    if not lines:
        pytest.skip(f"composed: {session.lines[0].text}: {composed_only(session.lines[0])}")
    text = "\n".join(line.text for line in lines)
    if re.search(r"(ckpt|init_from)=streets\b", text) and not (SHIPPED / "streets.safetensors").is_file():
        pytest.skip("the network of the package is not there yet")
    if "drive" in text:
        pytest.importorskip("rosbags")
    for line in map(substituted, lines):
        provide(line, tmp_path, world)
        code, said = run(line, tmp_path, world)
        assert code == 0, f"{line.text}\n{said[-6000:]}"
        for output in re.findall(r"\b(?:output|out|hydra\.run\.dir)=(\S+)", line.text):
            assert (tmp_path / output).exists(), line.text
        forget(tmp_path)


def run(line: Line, folder: Path, world: World) -> tuple[int, str]:
    """Run a line in a folder; returns its exit status and what it says."""
    words = line.words
    if words[:3] == ["python", "-m", "benchmarks"]:
        return alone(["benchmarks", *words[3:], "--quick", "--threads=1", "--out=tables"], folder)
    assert line.is_ours, f"{line.page}: {line.text}: say in this file how it is tried"
    arguments = words[1:]
    if arguments[0] == "train" and "--help" not in arguments:
        arguments += world.small_training(line.text)
    if arguments[0] == "study" and not keep_results(arguments[2], folder):
        arguments[1] = "report"  # to run the rest of it takes hours
    known = {"control": world.control, "kitti": world.data("semantickitti")}
    arguments += [setting.format(**known) for setting in SMALL.get(arguments[0], [])]
    if "trainer=ddp_cpu" in arguments:  # starts the other process by the name of this one's program
        return alone(["clusterseg", *arguments], folder)
    return command(arguments, folder)


def alone(arguments: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a module in a process of its own."""
    environ = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=folder, env=environ, **streams)
    return done.returncode, done.stdout
