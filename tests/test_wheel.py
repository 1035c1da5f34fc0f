"""The wheel, installed into a venv of its own and used in an empty folder, without the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

import clusterseg

ROOT = Path(clusterseg.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(build, check=True, cwd=folder)
    return next(folder.glob("clusterseg-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A venv with the wheel; what it depends on is that of this interpreter."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    here = [path for path in sys.path if path.endswith("-packages")]
    (packages / "dependencies.pth").write_text("\n".join(here))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), str(wheel)]
    subprocess.run(install, check=True)
    return folder


def run(installed: Path, folder: Path, *arguments: str) -> str:
    packages = next(installed.glob("lib/python*/site-packages"))
    code = "import sys; from clusterseg.commands.front_door import main; sys.argv[0] = 'clusterseg'; main()"
    python = [str(installed / "bin" / "python"), "-I", "-c", code]
    environ = os.environ | {"OMP_NUM_THREADS": "1", "HOME": str(folder), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*python, *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert str(packages)  # the interpreter runs isolated: nothing of the checkout is on its path
    return done.stdout


def test_what_is_inside(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    configurations = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*") if path.is_file()}
    assert {f"clusterseg/{name}" for name in configurations} <= set(names)
    networks = {path.relative_to(ROOT).as_posix() for path in (ROOT / "clusterseg/pretrained").iterdir()}
    assert networks and networks <= set(names)
    assert "clusterseg/py.typed" in names
    engine = {"clusterseg/compiled/libclusterseg.so"} & set(names)
    assert bool(engine) == (shutil.which("cc") is not None)
    assert wheel.name.endswith("-any.whl") == (not engine), "a compiled library belongs to a platform"
    assert any(name.startswith("hydra_plugins/") for name in names)
    assert any(name.endswith(".html") for name in names)
    outside = {name.split("/")[0] for name in names} - {"clusterseg", "hydra_plugins"}
    assert all(name.endswith(".dist-info") for name in outside), outside


def test_it_works_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "--version")
    assert where.strip() == f"clusterseg {clusterseg.__version__}"
    assert "convert-weights" in run(installed, tmp_path, "--help")
    towns = ("data.recipe.sequences=[0,8]", "data.sequences={train: [0], val: [8]}")
    small = (*towns, "data.recipe.scans=2", "data.recipe.azimuths=200", "data.recipe.beams=16", "trainer=cpu")
    run(installed, tmp_path, "train", "experiment=demo", "trainer.max_steps=2", "hydra.run.dir=run", *small)
    assert (tmp_path / "run/checkpoints/last.ckpt").is_file(), "runs are written into the current folder"
    run(installed, tmp_path, "evaluate", "ckpt=run/checkpoints/last.ckpt", "hydra.run.dir=scores", "trainer=cpu")
    assert json.loads((tmp_path / "scores/metrics.json").read_text())["scans"] == 2
    scan = next((tmp_path / "data").rglob("000000.bin"))
    run(
        installed,
        tmp_path,
        "predict",
        "ckpt=run/checkpoints/last.ckpt",
        f"input={scan}",
        "output=labels",
        "trainer=cpu",
    )
    labels = np.fromfile(tmp_path / "labels/000000.label", "<u4")
    assert len(labels) == scan.stat().st_size // 16
