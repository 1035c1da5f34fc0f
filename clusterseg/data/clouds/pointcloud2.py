"""Messages of the type sensor_msgs/PointCloud2 of ROS as columns, and back.

Source: the message definitions sensor_msgs/PointCloud2 and sensor_msgs/PointField, equal in ROS 1 and ROS 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from clusterseg.errors import UserError

#: Number types by PointField.datatype, without their byte order.
DATATYPES: Mapping[int, str] = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_NUMBERS = {kind: number for number, kind in DATATYPES.items()}
_PADDING = ("", "_")  # names that writers give to unused bytes


def columns(message: Any) -> dict[str, np.ndarray]:
    """Return the fields of a message by name, row after row of an organised cloud, in this machine's byte order.

    Of a field with several numbers per point the first is taken. Fields may come in any order, with gaps, overlap,
    and with bytes between the rows.

    Args:
        message: Has the attributes height, width, fields, is_bigendian, point_step, row_step, data.

    Raises:
        UserError: A field has an unknown type or leaves the point, or the data are too short.
    """
    data: UInt8[np.ndarray, " bytes"] = np.ascontiguousarray(message.data, np.uint8)
    shape, strides = (message.height, message.width), (_row_step(message), message.point_step)
    needed = (shape[0] - 1) * strides[0] + shape[1] * strides[1] if shape[0] * shape[1] else 0
    if len(data) < needed:
        raise UserError(
            f"has {len(data)} bytes of points, expected {needed} for {shape[0]} x {shape[1]} points of "
            f"{message.point_step} bytes; the message is cut short or damaged"
        )
    order = ">" if message.is_bigendian else "<"
    found: dict[str, np.ndarray] = {}
    for field in message.fields:
        if field.name in _PADDING or field.name in found:
            continue
        kind = np.dtype(order + _kind(field))
        if field.offset + kind.itemsize > message.point_step:
            raise UserError(
                f"field {field.name} ends at byte {field.offset + kind.itemsize} of points of {message.point_step} "
                "bytes; the message is damaged"
            )
        column = np.ndarray(shape, kind, data, field.offset, strides) if needed else np.empty(shape, kind)
        found[field.name] = column.ravel().astype(kind.newbyteorder("="))
    return found


def blank_no_return(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return columns with NaN for x, y, z of points at exactly (0, 0, 0), as sensors write beams without a return."""
    if not {"x", "y", "z"} <= set(found):
        return dict(found)
    empty = (found["x"] == 0) & (found["y"] == 0) & (found["z"] == 0)
    if not empty.any():
        return dict(found)
    return {name: np.where(empty, np.nan, column) if name in "xyz" else column for name, column in found.items()}


def packed(found: Mapping[str, np.ndarray]) -> tuple[list[tuple[str, int, int]], int, UInt8[np.ndarray, " bytes"]]:
    """Pack columns of equal length without gaps, in little-endian order.

    Returns:
        Name, offset and datatype of each field; bytes per point; the bytes.
    """
    kinds = {name: column.dtype.str[1:] for name, column in found.items()}
    rows = np.empty(len(next(iter(found.values()))), [(name, f"<{kind}") for name, kind in kinds.items()])
    fields, offset = [], 0
    for name, kind in kinds.items():
        rows[name] = found[name]
        fields.append((name, offset, _NUMBERS[kind]))
        offset += np.dtype(kind).itemsize
    return fields, rows.dtype.itemsize, np.frombuffer(rows.tobytes(), np.uint8)


def _row_step(message: Any) -> int:
    """Bytes from row to row; some writers leave it 0 for a single row."""
    row_step: int = message.row_step
    return max(row_step, message.width * message.point_step)


def _kind(field: Any) -> str:
    if field.datatype not in DATATYPES:
        raise UserError(
            f"field {field.name} has the type {field.datatype}, which sensor_msgs/PointField does not define; expected "
            "1 to 8 (INT8, UINT8, INT16, UINT16, INT32, UINT32, FLOAT32, FLOAT64): write it as one of these"
        )
    return DATATYPES[field.datatype]
