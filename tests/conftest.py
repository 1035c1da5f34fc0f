"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder with golden values and real scans: ``CLUSTERSEG_SHARED``, or ``shared`` beside the project."""
    folder = Path(os.environ.get("CLUSTERSEG_SHARED") or Path(__file__).parents[2] / "shared")
    if not folder.is_dir():
        pytest.skip(f"no shared folder at {folder}: point CLUSTERSEG_SHARED at it")
    return folder
