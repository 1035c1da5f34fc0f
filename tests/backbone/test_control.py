from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from control_table import OUTPUTS, control_table

from clusterseg.backbone import SPVNAS
from clusterseg.backbone.control import BlockSpec, parse_control
from clusterseg.errors import UserError

BLOCK = "downsample.1.feature.layers.0"


def test_the_published_file(shared: Path) -> None:
    spec = parse_control(shared / "golden/net.config")
    assert spec.stem == 32
    assert [s.out_channels for s in spec.downsample + spec.upsample] == [24, 52, 188, 232, 140, 152, 96, 76]
    assert [s.transition for s in spec.downsample + spec.upsample] == [16, 44, 84, 152, 188, 104, 48, 64]
    assert [len(s.blocks) for s in spec.downsample + spec.upsample] == [2, 2, 2, 2, 2, 1, 2, 1]
    assert spec.downsample[0].blocks == (BlockSpec(44, 24, True), BlockSpec(36, 24, False))
    assert spec.point_transforms == (232, 152, 76)


def test_entries_beyond_the_depth_are_ignored() -> None:
    """Search leaves the widths of blocks that it cut off in the file, null or contradictory."""
    table = control_table() | {
        "upsample.1.feature.layers.1.net.layers.0": None,
        "upsample.1.feature.layers.1.net.layers.1": 128,
    }
    assert parse_control(table) == parse_control(control_table())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_as_editors_on_windows_leave_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "net.config"
    path.write_bytes(json.dumps(control_table(), indent=1).replace("\n", "\r\n").encode(encoding))
    assert parse_control(path) == parse_control(control_table())


def refused(tmp_path: Path, text: str) -> str:
    """The message about a control file of this text; it must name the file."""
    path = tmp_path / "net.config"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        SPVNAS(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_missing_file_is_named_with_the_key_to_set(tmp_path: Path) -> None:
    path = tmp_path / "absent.config"
    with pytest.raises(UserError, match=r"does not exist: give model\.backbone\.control a path") as error:
        SPVNAS(path)
    assert str(path) in str(error.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read as JSON"):
        SPVNAS(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "stem: 32", '{"output_channels": [32,}'])
def test_bad_json(tmp_path: Path, text: str) -> None:
    assert "cannot be read as JSON" in refused(tmp_path, text)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "net.config"
    path.write_bytes(b"\x80\x04\x95\xff")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        SPVNAS(path)


@pytest.mark.parametrize("value", [[1, 2], 3, "text", None])
def test_json_that_is_no_table(tmp_path: Path, value: Any) -> None:
    assert "expected an object of layer: channels" in refused(tmp_path, json.dumps(value))


@pytest.mark.parametrize(
    "key",
    [
        "output_channels",
        "downsample.2.transition",
        "downsample.0.feature",
        "upsample.3.feature.layers.0.net.layers.0",
        "upsample.0.feature.layers.1.net.layers.1",
        "point_transforms.1",
    ],
)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    table = control_table()
    del table[key]
    message = refused(tmp_path, json.dumps(table))
    assert f"{key} is None, expected" in message


@pytest.mark.parametrize("value", [0, -4, 2.5, "16", True, [16]])
@pytest.mark.parametrize("key", ["downsample.2.transition", "upsample.1.feature", f"{BLOCK}.net.layers.0"])
def test_a_value_that_is_no_width(tmp_path: Path, key: str, value: Any) -> None:
    message = refused(tmp_path, json.dumps(control_table() | {key: value}))
    assert f"{key} is {value!r}, expected a positive integer" in message


@pytest.mark.parametrize("value", [0, -4, 2.5, "x", None, True, [16]])
@pytest.mark.parametrize("position", [0, 3])
def test_an_output_width_that_is_no_width(tmp_path: Path, position: int, value: Any) -> None:
    outputs = list(OUTPUTS)
    outputs[position] = value
    message = refused(tmp_path, json.dumps(control_table() | {"output_channels": outputs}))
    assert "output_channels" in message
    assert repr(value) in message


@pytest.mark.parametrize("outputs", [[], [8] * 8, [8] * 10, 8, "8"])
def test_the_wrong_number_of_stages(tmp_path: Path, outputs: Any) -> None:
    message = refused(tmp_path, json.dumps(control_table() | {"output_channels": outputs}))
    assert "expected 9 channel counts" in message


def block(name: str, out: int) -> dict[str, int]:
    """A first residual block of that many output channels."""
    return {f"{name}.feature.layers.0.net.layers.1": out, f"{name}.feature.layers.0.downsample": out}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (block("upsample.0", 99), "upsample.0.feature.layers.1 goes from 99 to 16 channels without a .downsample"),
        (block("upsample.1", 99), "stage 5 ends with 99 channels, output_channels says 16"),
        ({"point_transforms.0": 99}, "a point transform has 99 channels, its stage 20"),
        ({"point_transforms.2": 99}, "a point transform has 99 channels, its stage 12"),
        ({f"{BLOCK}.downsample": 99}, f"{BLOCK}.downsample has 99 channels, {BLOCK}.net.layers.1 says 12"),
        ({f"{BLOCK}.net.layers.1": 99}, f"{BLOCK}.downsample has 12 channels, {BLOCK}.net.layers.1 says 99"),
    ],
)
def test_widths_that_contradict_each_other(tmp_path: Path, changes: dict[str, int], message: str) -> None:
    assert message in refused(tmp_path, json.dumps(control_table() | changes))


def test_a_first_block_needs_its_shortcut(tmp_path: Path) -> None:
    table = control_table()
    del table[f"{BLOCK}.downsample"]
    assert f"{BLOCK} goes from" in refused(tmp_path, json.dumps(table))


def test_a_table_is_called_a_table() -> None:
    with pytest.raises(UserError, match=r"^control table: point_transforms.1 is '99', expected a positive integer"):
        parse_control(control_table() | {"point_transforms.1": "99"})
