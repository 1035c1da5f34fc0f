"""Made data sets in the layouts of nuScenes and others: tiny, with ids drawn at random."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def cloud(seed: int, points: int, columns: int = 4) -> np.ndarray:
    """Points (points, columns) float32 around a sensor; the fourth column is 0..1."""
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(-20, 20, (points, 3)) * (1, 1, 0.1)
    return np.c_[xyz, rng.random((points, columns - 3))].astype("<f4")


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array.tofile(path)


def counts(labels: Iterable[int] | np.ndarray) -> dict[int, int]:
    """How often each id occurs, counted one by one."""
    found: dict[int, int] = {}
    for label in labels:
        found[int(label)] = found.get(int(label), 0) + 1
    return found


def write_nuscenes(root: Path, scenes: dict[str, int], version: str = "v1.0-mini", labelled: bool = True) -> None:
    """Write scenes {name: sweeps}; the rows of the tables are shuffled, and hold other sensors and sweeps between."""
    rng = np.random.default_rng(len(scenes))
    tables: dict[str, list[dict[str, Any]]] = {"scene": [], "sample": [], "sample_data": [], "lidarseg": []}
    for name, sweeps in scenes.items():
        tables["scene"].append({"token": f"scene token {name}", "name": name, "nbr_samples": sweeps})
        for i in range(sweeps):
            sample, token = f"sample {name} {i}", f"{name[6:]}{i:028d}"
            tables["sample"].append({"token": sample, "scene_token": f"scene token {name}", "timestamp": 1000 + i})
            points = f"samples/LIDAR_TOP/{name}__LIDAR_TOP__{1000 + i}.pcd.bin"
            row = {"sample_token": sample, "timestamp": 1000 + i, "is_key_frame": True}
            camera = {"token": f"camera {token}", "filename": f"samples/CAM_FRONT/{token}.jpg"}
            between = {"token": f"sweep {token}", "filename": "sweeps/LIDAR_TOP/x.pcd.bin", "is_key_frame": False}
            tables["sample_data"] += [row | {"token": token, "filename": points}, row | camera, row | between]
            made = cloud(int(name[6:]) + i, 60 + i, 5)
            made[:, 3] *= 255
            write(root / points, made)
            if labelled:
                file = f"lidarseg/{version}/{token}_lidarseg.bin"
                tables["lidarseg"].append({"token": f"seg {token}", "sample_data_token": token, "filename": file})
                write(root / file, rng.integers(0, 32, len(made)).astype("u1"))
    for name, table in tables.items():
        if name != "lidarseg" or labelled:
            rng.shuffle(table)  # type: ignore[arg-type]
            (root / version).mkdir(parents=True, exist_ok=True)
            (root / version / f"{name}.json").write_text(json.dumps(table, indent=0))
