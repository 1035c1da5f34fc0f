"""A made-up data set in the SemanticKITTI layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_scans import RAW_IDS, random_points

from clusterseg.data.scan import write_labels, write_scan


@pytest.fixture
def make_root(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes sequences {name: number of scans} and returns their root."""

    def make(
        sequences: dict[str, int],
        labels: bool = True,
        num_points: int = 400,
        folder: str = "kitti",
        under: str = "",
    ) -> Path:
        root = tmp_path / folder
        for name, count in sequences.items():
            for frame in range(count):
                seed = int(name) * 1000 + frame
                points = random_points(num_points + 7 * frame, seed)
                raw = np.random.default_rng(seed).choice(RAW_IDS, len(points)) | (frame + 1) << 16
                write_scan(root / under / name / "velodyne" / f"{frame:06d}.bin", points)
                if labels:
                    write_labels(root / under / name / "labels" / f"{frame:06d}.label", raw)
        return root

    return make
