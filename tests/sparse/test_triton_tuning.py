"""The choice of block sizes, with a stand-in for the kernel; Triton itself is not needed."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterseg.sparse.backends.triton_tuning import Block, Tuner, choices_file, shape_class

SMALL, MIDDLE, WIDE = Block(64, 32, 32, 4, 3), Block(64, 64, 32, 4, 3), Block(128, 128, 32, 8, 3)
SECONDS = {SMALL: 3.0, MIDDLE: 1.0, WIDE: 2.0}


class NoRoomError(Exception):
    """Stands for the compiler's refusal."""


class Device:
    """Runs a block in a known time, unless it refuses it."""

    def __init__(self, *refused: Block, seconds: dict[Block, float] = SECONDS) -> None:
        self.refused, self.table, self.launched = refused, seconds, []

    def launch(self, block: Block) -> None:
        if block in self.refused:
            raise NoRoomError(str(block))
        self.launched.append(block)

    def seconds(self, call: Callable[[], None]) -> float:
        call()
        return self.table[self.launched[-1]]


def tuner(device: Device, file: Path | None = None, name: str = "a device") -> Tuner:
    return Tuner((SMALL, MIDDLE, WIDE), device.seconds, (NoRoomError,), file, name)


def test_the_fastest_is_chosen_once() -> None:
    device = Device()
    tuned = tuner(device)
    assert [tuned.choose("a", 256, device.launch) for _ in range(3)] == [MIDDLE] * 3
    assert device.launched == [SMALL, MIDDLE, WIDE]


def test_what_the_device_refuses_is_left_out() -> None:
    device = Device(MIDDLE)
    assert tuner(device).choose("a", 256, device.launch) == WIDE
    device = Device(SMALL, MIDDLE, WIDE)
    with pytest.raises(NoRoomError):
        tuner(device).choose("a", 256, device.launch)


def test_a_fault_is_no_refusal() -> None:
    def broken(block: Block) -> None:
        raise RuntimeError("illegal memory access")

    with pytest.raises(RuntimeError, match="illegal"):
        tuner(Device()).choose("a", 256, broken)


def test_blocks_much_wider_than_the_output_are_not_tried() -> None:
    device = Device()
    tuner(device).choose("a", 20, device.launch)
    assert device.launched == [SMALL]


def test_a_single_candidate_is_not_timed() -> None:
    def never(call: Callable[[], None]) -> float:
        raise AssertionError

    assert Tuner((SMALL,), never).choose("a", 8, lambda block: None) == SMALL


def test_choices_are_kept_for_the_same_device(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "blocks.json"
    first = Device()
    tuner(first, file).choose("a", 256, first.launch)
    again = Device(seconds={SMALL: 0.0, MIDDLE: 9.0, WIDE: 9.0})
    assert tuner(again, file).choose("a", 256, again.launch) == MIDDLE
    assert again.launched == []
    assert tuner(again, file).choose("b", 256, again.launch) == SMALL
    other = Device(seconds={SMALL: 9.0, MIDDLE: 9.0, WIDE: 0.0})
    assert tuner(other, file, "another").choose("a", 256, other.launch) == WIDE
    assert set(json.loads(file.read_text())) == {"a device", "another"}
    assert set(json.loads(file.read_text())["a device"]) == {"a", "b"}


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"a device": []}', '{"a device": {"a": [1]}}', '{"a device": {"a": [1, 2, 3, 4, 5]}}']
)
def test_a_foreign_file_is_replaced(tmp_path: Path, content: str) -> None:
    file, device = tmp_path / "blocks.json", Device()
    file.write_text(content)
    assert tuner(device, file).choose("a", 256, device.launch) == MIDDLE
    assert json.loads(file.read_text())["a device"]["a"] == list(MIDDLE)


def test_a_folder_without_room_does_not_stop_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    device = Device()
    assert tuner(device, tmp_path / "file" / "blocks.json").choose("a", 256, device.launch) == MIDDLE


def add(file: Path, name: str) -> None:
    device = Device()
    tuner(device, file).choose(name, 256, device.launch)


def test_several_processes_leave_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "blocks.json"
    workers = [multiprocessing.get_context("fork").Process(target=add, args=(file, f"c{i}")) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8
    names = set(json.loads(file.read_text())["a device"])
    assert names
    assert names <= {f"c{i}" for i in range(8)}


def test_classes_of_shapes() -> None:
    def of(rows: int = 90_000, c_in: int = 48, c_out: int = 96, kind: str = "forward") -> str:
        return shape_class(kind, rows, c_in, c_out, 27, "float16")

    assert of(rows=90_000) == of(rows=100_000) != of(rows=20_000)
    assert of(c_in=48) == of(c_in=64) != of(c_in=65)
    assert of(c_in=4) == of(c_in=16)
    assert of(kind="forward") != of(kind="input_gradient")
    assert of(rows=1) == of(rows=0)
    assert of() == "forward k27 64x128 rows4^9 float16"


def test_where_choices_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    assert choices_file() == tmp_path / "clusterseg_blocks.json"
    monkeypatch.delenv("TRITON_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert choices_file() == tmp_path / ".triton" / "cache" / "clusterseg_blocks.json"
