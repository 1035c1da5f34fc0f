"""Recordings of ROS made by the package rosbags, with clouds in many layouts."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TYPE = "sensor_msgs/msg/PointCloud2"
KINDS = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
FORMATS = ("ros1", "db3", "mcap")


def store(kind: str) -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS1_NOETIC if kind == "ros1" else Stores.ROS2_JAZZY)


def cloud(
    kind: str,
    fields: Mapping[str, np.ndarray],
    order: str = "<",
    padding: int = 0,
    reverse: bool = False,
    rows: int = 1,
    row_padding: int = 0,
) -> Any:
    """A message, written point by point: fields maybe backwards, with bytes between fields, points and rows."""
    types = store(kind).types
    width = len(next(iter(fields.values()))) // rows
    names = list(fields)[::-1] if reverse else list(fields)
    offsets, at = {}, padding
    for name in names:
        offsets[name] = at
        at += fields[name].dtype.itemsize + padding
    step = at
    data = bytearray(b"\xa5" * (rows * (width * step + row_padding)))
    for index in range(rows * width):
        start = (index // width) * (width * step + row_padding) + (index % width) * step
        for name in names:
            value = fields[name][index : index + 1].astype(fields[name].dtype.newbyteorder(order)).tobytes()
            data[start + offsets[name] : start + offsets[name] + len(value)] = value
    stamp = types["builtin_interfaces/msg/Time"](sec=1, nanosec=2)
    more = {"seq": 0} if kind == "ros1" else {}
    field = types["sensor_msgs/msg/PointField"]
    return types[TYPE](
        header=types["std_msgs/msg/Header"](stamp=stamp, frame_id="lidar", **more),
        height=rows,
        width=width,
        fields=[field(name, offsets[name], KINDS[fields[name].dtype.str[1:]], 1) for name in names],
        is_bigendian=order == ">",
        point_step=step,
        row_step=width * step + row_padding,
        data=np.frombuffer(bytes(data), np.uint8),
        is_dense=True,
    )


def columns_of(points: np.ndarray) -> dict[str, np.ndarray]:
    """x, y, z, intensity and two more fields of points (N, 4)."""
    found = {name: points[:, i].astype("f4") for i, name in enumerate(("x", "y", "z", "intensity"))}
    return found | {"ring": (np.arange(len(points)) % 16).astype("u2"), "t": np.arange(len(points)).astype("f8")}


def write(path: Path, kind: str, topics: Mapping[str, Sequence[tuple[int, Any]]]) -> Path:
    """Write messages with their times by topic; a topic of strings may be among them."""
    from rosbags import rosbag1, rosbag2

    plugin = {"db3": rosbag2.StoragePlugin.SQLITE3, "mcap": rosbag2.StoragePlugin.MCAP}.get(kind)
    bag = rosbag1.Writer(path) if kind == "ros1" else rosbag2.Writer(path, version=8, storage_plugin=plugin)
    write_into(bag, kind, topics)
    return path


def write_into(bag: Any, kind: str, topics: Mapping[str, Sequence[tuple[int, Any]]]) -> None:
    """Write the same into a bag that is not open yet."""
    types = store(kind)
    serialise = types.serialize_ros1 if kind == "ros1" else types.serialize_cdr
    with bag as writer:
        for topic, messages in topics.items():
            name = messages[0][1].__msgtype__
            connection = writer.add_connection(topic, name, typestore=types)
            for time, message in messages:
                writer.write(connection, time, serialise(message, name))


def read(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """Every message by topic, decoded by rosbags by the definitions inside."""
    from rosbags.highlevel import AnyReader

    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([path]) as reader:
        for connection, time, raw in reader.messages():
            found.setdefault(connection.topic, []).append((time, reader.deserialize(raw, connection.msgtype)))
    return found


def by_struct(message: Any) -> dict[str, np.ndarray]:
    """The fields of a message, read number by number."""
    letters = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 8: "d"}
    order, data = ">" if message.is_bigendian else "<", bytes(message.data)
    found: dict[str, list[float]] = {field.name: [] for field in message.fields}
    for row in range(message.height):
        for column in range(message.width):
            start = row * message.row_step + column * message.point_step
            for field in message.fields:
                found[field.name].append(
                    struct.unpack_from(order + letters[field.datatype], data, start + field.offset)[0]
                )
    return {name: np.array(values) for name, values in found.items()}
