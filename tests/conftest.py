"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import config, install_import_hook

from clusterseg.commands.allocator import keep_freed_memory
from clusterseg.commands.lean_start import leave_out_scipy_signal

# Where tensors are. (Whole numbers of the streets are numpy's, which the check would not take for int.)
TENSOR_CODE = ("sparse", "backbone", "cluster", "data", "losses", "metrics", "distributed", "task")
install_import_hook([f"clusterseg.{name}" for name in TENSOR_CODE], "shapecheck.check")

keep_freed_memory()  # as the commands do
leave_out_scipy_signal()

# Must be set before torch is first imported. On a busy machine threads that spin at a barrier wait for each other's
# time slices: the engine's tests then take five times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Several processes of tests would each take all cores; what tests threads sets their number itself.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


#: Files of a few long tests, which would run alone at the end.
SLOWEST = (
    "test_wheel.py",
    "test_ranks_run.py",
    "test_other_ranks.py",
    "test_custom_dataset.py",
    "test_cluster_ranks.py",
    "test_recovery.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slowest files first: those after them fill the processes evenly."""
    items.sort(key=lambda item: item.path.name not in SLOWEST)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Let values of a wrong type pass, as they come from a configuration, to the package's own checks."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder with golden values and real scans: ``CLUSTERSEG_SHARED``, or ``shared`` beside the project."""
    folder = Path(os.environ.get("CLUSTERSEG_SHARED") or Path(__file__).parents[2] / "shared")
    if not folder.is_dir():
        pytest.skip(f"no shared folder at {folder}: point CLUSTERSEG_SHARED at it")
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data`` (sequences 00 and 08) and ``run/checkpoints/{last,best}.ckpt`` of the tiny network."""
    from tiny_run import train_tiny  # imports torch

    return train_tiny(tmp_path_factory.mktemp("tiny"))
