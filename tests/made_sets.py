"""Made data sets in the layouts of nuScenes and others: tiny, with ids drawn at random."""

from __future__ import annotations

import gzip
import json
import pickle
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

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


def write_frame(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Pickle a data frame as the pandas of PandaSet did, whose classes are stood in for while it is written."""
    modules = {
        "pandas.core.frame": ["DataFrame"],
        "pandas.core.internals.managers": ["BlockManager"],
        "pandas.core.indexes.base": ["Index", "_new_Index"],
        "pandas.core.indexes.range": ["RangeIndex"],
    }
    kinds: dict[str, Any] = {}
    parents = ("pandas", "pandas.core", "pandas.core.internals", "pandas.core.indexes")
    with patch.dict(sys.modules, {module: types.ModuleType(module) for module in (*parents, *modules)}):
        for module, names in modules.items():
            for name in names:
                kinds[name] = type(name, (), {"__module__": module, "__qualname__": name})
                setattr(sys.modules[module], name, kinds[name])
        content = pickle.dumps(_frame(columns, kinds), protocol=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")))


def _frame(columns: dict[str, np.ndarray], kinds: dict[str, Any]) -> Any:
    """The frame, one block for each type of numbers."""

    def index(names: list[str]) -> Any:
        arguments = (kinds["Index"], {"data": np.array(names, dtype=object), "name": None})
        return _Reduced(kinds["_new_Index"], arguments)

    kinds["_new_Index"] = _function("pandas.core.indexes.base", "_new_Index")
    names = list(columns)
    blocks = []
    for kind in dict.fromkeys(values.dtype for values in columns.values()):
        places = [i for i, name in enumerate(names) if columns[name].dtype == kind]
        assert places == list(range(places[0], places[-1] + 1))
        values = np.stack([columns[names[i]] for i in places])
        blocks.append({"values": values, "mgr_locs": slice(places[0], places[-1] + 1, 1)})
    rows = len(columns[names[0]])
    ends = {"name": None, "start": 0, "stop": rows, "step": 1}
    axes = [index(names), _Reduced(kinds["_new_Index"], (kinds["RangeIndex"], ends))]
    manager = kinds["BlockManager"]()
    arrays = [block["values"] for block in blocks]
    state = (axes, arrays, [index(names)], {"0.14.1": {"axes": axes, "blocks": blocks}})
    kinds["BlockManager"].__getstate__ = lambda self: state
    frame = kinds["DataFrame"]()
    frame.__dict__.update({"_data": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}})
    return frame


class _Reduced:
    """Pickles as a call."""

    def __init__(self, function: Any, arguments: tuple[Any, ...]) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _function(module: str, name: str) -> Any:
    def function(*arguments: Any) -> None:
        """Stands for a function of pandas."""

    function.__module__, function.__qualname__, function.__name__ = module, name, name
    setattr(sys.modules[module], name, function)
    return function


def write_pandaset(root: Path, sequences: dict[str, int], seed: int = 0) -> None:
    """Write sequences {name: scans} of 40 points of the Pandar64 and 20 of the PandarGT each."""
    rng = np.random.default_rng(seed)
    for name, scans in sequences.items():
        poses = [
            {
                "position": dict(zip("xyz", rng.uniform(-50, 50, 3).tolist(), strict=True)),
                "heading": dict(zip("wxyz", rng.normal(size=4).tolist(), strict=True)),
            }
            for _ in range(scans)
        ]
        for i in range(scans):
            n = 60 + i
            columns = {axis: rng.uniform(-80, 80, n) for axis in "xyz"}
            columns |= {"i": rng.integers(0, 256, n).astype(float), "t": np.full(n, 1.5e9)}
            columns["d"] = (np.arange(n) >= 40).astype(np.int64)
            write_frame(root / name / f"lidar/{i:02d}.pkl.gz", columns)
            labels = {"class": rng.integers(1, 43, n)}
            write_frame(root / name / f"annotations/semseg/{i:02d}.pkl.gz", labels)
        (root / name / "lidar/poses.json").write_text(json.dumps(poses))
