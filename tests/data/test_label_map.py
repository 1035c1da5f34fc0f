from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clusterseg.data.label_map import FOLDER, IGNORE_INDEX, load_label_map
from clusterseg.errors import UserError

# learning_map of semantic-kitti.yaml (class 0 is unlabeled), written out on its own as the reference.
LEARNING_MAP = {
    0: 0, 1: 0, 10: 1, 11: 2, 13: 5, 15: 3, 16: 5, 18: 4, 20: 5, 30: 6, 31: 7, 32: 8, 40: 9, 44: 10, 48: 11, 49: 12,
    50: 13, 51: 14, 52: 0, 60: 9, 70: 15, 71: 16, 72: 17, 80: 18, 81: 19, 99: 0, 252: 1, 253: 7, 254: 6, 255: 8,
    256: 5, 257: 5, 258: 4, 259: 5,
}  # fmt: skip
COLOUR_BGR = {"car": (245, 150, 100), "road": (255, 0, 255), "trunk": (0, 60, 135), "traffic-sign": (0, 0, 255)}


def test_benchmark_map_is_the_learning_map() -> None:
    label_map = load_label_map("semantickitti")
    raw = np.array(list(LEARNING_MAP))
    expected = [IGNORE_INDEX if c == 0 else c - 1 for c in LEARNING_MAP.values()]
    assert len(raw) == 34
    np.testing.assert_array_equal(label_map.to_train(raw), expected)
    assert np.flatnonzero(label_map.raw_to_train >= 0).tolist() == sorted(LEARNING_MAP)


@pytest.mark.parametrize("name", ["semantickitti", "semantickitti_release"])
def test_classes_round_trip(name: str) -> None:
    label_map = load_label_map(name)
    train = np.array([*range(19), IGNORE_INDEX])
    raw = label_map.to_raw(train)
    assert raw.dtype == np.uint32
    np.testing.assert_array_equal(label_map.to_train(raw), train)
    every = np.flatnonzero(label_map.raw_to_train >= 0)
    once = label_map.to_train(every)
    np.testing.assert_array_equal(label_map.to_train(label_map.to_raw(once)), once)


def test_names_and_colours() -> None:
    label_map = load_label_map("semantickitti")
    assert label_map.num_classes == 19 and label_map.class_names[8] == "road"
    assert label_map.colours.shape == (19, 3) and label_map.colours.dtype == np.uint8
    for name, bgr in COLOUR_BGR.items():
        assert tuple(label_map.colours[label_map.class_names.index(name)]) == bgr[::-1]


def test_release_map_is_the_golden_one(shared: Path) -> None:
    golden = json.loads((shared / "golden" / "official_label_map.json").read_text())
    label_map = load_label_map("semantickitti_release")
    assert golden["names"] == {name: i for i, name in enumerate(label_map.class_names)}
    known = np.flatnonzero(label_map.raw_to_train >= 0)
    assert len(known) == 34
    np.testing.assert_array_equal(label_map.to_train(known), [golden["label_map"][str(raw)] for raw in known])


def test_maps_differ_only_where_the_benchmark_merges() -> None:
    benchmark, release = load_label_map("semantickitti"), load_label_map("semantickitti_release")
    differ = np.flatnonzero(benchmark.raw_to_train != release.raw_to_train)
    assert differ.tolist() == [13, 16, 60, 256, 257]
    assert (release.raw_to_train[differ] == IGNORE_INDEX).all()


def test_instance_bits_are_dropped() -> None:
    raw = np.array([40 | 7 << 16, 10 | 65535 << 16], np.uint32)
    train = load_label_map("semantickitti").to_train(raw)
    assert train.tolist() == [8, 0] and train.dtype == np.int64


@pytest.mark.parametrize("name", ["semantickitti", "semantickitti_release"])
def test_unknown_raw_ids_are_named(name: str) -> None:
    with pytest.raises(UserError, match=rf"unknown label ids \[2, 77\].*{name}"):
        load_label_map(name).to_train(np.array([10, 77, 2, 77 | 3 << 16], np.uint32))


def test_to_raw_refuses_what_is_no_class() -> None:
    with pytest.raises(ValueError, match="train ids"):
        load_label_map("semantickitti").to_raw(np.array([0, 19]))


def test_unknown_map() -> None:
    with pytest.raises(UserError, match=r"data\.label_map=toronto3d.*semantickitti_release"):
        load_label_map("toronto3d")


MAPPING = {
    "name": "mine",
    "of": "waymo",
    "onto": "semantickitti",
    "ignored": [0, *range(2, 23)],
    "classes": {"car": [1]},
}


def test_a_mapping_reads_ids_of_one_set_and_writes_those_of_the_other() -> None:
    mapped, target = load_label_map("pandaset_as_semantickitti"), load_label_map("semantickitti")
    assert mapped.class_names == target.class_names
    np.testing.assert_array_equal(mapped.train_to_raw, target.train_to_raw)
    np.testing.assert_array_equal(mapped.colours, target.colours)
    expected = {13: "car", 14: "car", 25: "motorcycle", 16: "truck", 29: "other-vehicle", 31: "person", 12: "parking"}
    for raw, name in expected.items():
        assert mapped.class_names[mapped.to_train(np.array([raw]))[0]] == name
    np.testing.assert_array_equal(mapped.to_train(np.array([0, 4, 42])), [IGNORE_INDEX] * 3)
    with pytest.raises(UserError, match=r"unknown label ids \[43\]"):
        mapped.to_train(np.array([43]))
    again = load_label_map(mapped.table)  # as out of a checkpoint
    assert again.table == mapped.table
    np.testing.assert_array_equal(again.raw_to_train, mapped.raw_to_train)


SHIPPED = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_map_loads_and_a_mapping_knows_every_id(name: str) -> None:
    label_map = load_label_map(name)
    assert label_map.name == name
    assert label_map.raw_to_train[0] == IGNORE_INDEX and label_map.unlabeled == 0
    own, _, onto = name.partition("_as_")
    if onto:
        known = load_label_map(own).raw_to_train >= 0
        np.testing.assert_array_equal(label_map.raw_to_train >= 0, known)
        assert label_map.class_names == load_label_map(onto).class_names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ignored": [0, *range(3, 23)]}, r"data\.label_map: leaves out raw ids 2 \(truck\), which of=waymo has"),
        ({"ignored": list(range(2, 23))}, r"leaves out raw ids 0 \(ignored there\)"),
        ({"ignored": [0, *range(2, 24)]}, r"raw ids \[23\]: of=waymo has no such id"),
        ({"classes": {"cars": [1]}}, r"cars: onto=semantickitti has no such class \(did you mean car\?\); it has"),
        ({"ignored": [0, 1, *range(2, 23)]}, r"raw id 1 is ignored and listed for car"),
        ({"onto": "nothing"}, r"data\.label_map=nothing: no such label map"),
        ({"of": 3}, r"data\.label_map: of: input should be a valid string, got 3; expected name, of and onto"),
    ],
)
def test_a_mapping_that_is_wrong(change: dict[str, object], message: str) -> None:
    assert load_label_map(MAPPING).num_classes == 19
    with pytest.raises(UserError, match=message):
        load_label_map({**MAPPING, **change})
