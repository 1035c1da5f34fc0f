"""Pairs of scans: a made one, and a real one where the shared folder is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_scans import OTHER, Pair, made_scan, real_scan


@pytest.fixture
def real_pair(shared: Path) -> Pair:
    return real_scan(shared, "00"), real_scan(shared, "06", 4, OTHER)


@pytest.fixture(params=["made", "real"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """Two scans with rows 0, 1, ... and OTHER, OTHER + 1, ... in their fifth channel."""
    if request.param == "real":
        found: Pair = request.getfixturevalue("real_pair")
        return found
    return made_scan(1), made_scan(2, OTHER)


@pytest.fixture
def made_pair() -> Pair:
    return made_scan(1), made_scan(2, OTHER)
