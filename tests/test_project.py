"""What stands in more than one place of the project says the same in each."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from clusterseg import __version__

ROOT = Path(__file__).parents[1]


def test_the_version_is_the_citations() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__


def test_the_licence_is_the_one_that_the_package_states() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'license = { text = "MIT" }' in text or 'license = "MIT"' in text
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_the_workflow_runs_the_gate_from_the_oldest_python_on() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/gate.yml").read_text())
    job = workflow["jobs"]["gate"]
    assert {"run": ".ci/run"} in job["steps"]
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert oldest is not None and job["strategy"]["matrix"]["python"][0] == oldest.group(1)


def test_the_commit_hooks_are_what_the_gate_lints_with() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text()
    linted = re.search(r"^lint: setup\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert linted is not None
    steps = [line.strip().replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in linted.group(1).splitlines()]
    assert [hook["entry"] for hook in hooks] == steps


def test_links_of_the_pages_lead_somewhere() -> None:
    for page in ROOT.glob("*.md"):  # those of the site are checked when it is built
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
