"""One small data set for all tests that only read."""

from __future__ import annotations

from pathlib import Path

import pytest
from streets_files import SMALL

from clusterseg.synthetic import write_streets


@pytest.fixture(scope="session")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small data set."""
    return write_streets(tmp_path_factory.mktemp("streets") / "set", SMALL, quiet=True)
