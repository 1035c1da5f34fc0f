"""Recordings of ROS 1 (.bag) and ROS 2 (.db3, .mcap, or their folder) as point clouds, by the package rosbags.

A message of a recording has a path of its own, such as `drive.bag/000012.message`, so that it is read, predicted and
left out like a file.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from clusterseg.data.clouds.cloud import Cloud, from_fields
from clusterseg.data.clouds.pointcloud2 import blank_no_return, columns
from clusterseg.data.scan import naming
from clusterseg.errors import UserError, error_line

SUFFIXES = (".bag", ".db3", ".mcap")
MESSAGE = ".message"
TYPE = "sensor_msgs/msg/PointCloud2"
METADATA = "metadata.yaml"
_MARK = b"rosbag2_bagfile_information"
_SHOWN = 10  # topics


def is_message(path: Path) -> bool:
    """Whether a path names a message of a recording."""
    return path.suffix == MESSAGE


def is_recording(path: Path) -> bool:
    """Whether a path is a recording: a file of one, or a folder of ROS 2."""
    return path.suffix.lower() in SUFFIXES if path.is_file() else is_folder(path)


def is_folder(path: Path) -> bool:
    """Whether a folder is a recording of ROS 2."""
    try:
        with open(path / METADATA, "rb") as file:
            return _MARK in file.read(4096)
    except OSError:
        return False


def list_messages(path: Path, topic: str | None) -> list[Path]:
    """Return the paths of the point clouds of a recording, in order.

    Args:
        path: The recording.
        topic: The topic to take; None takes the only one with point clouds.

    Raises:
        UserError: The recording cannot be read, or has no such topic, or several.
    """
    count = _open(path, topic).count
    if not count:
        raise UserError(f"{path}: holds no message of the topic {topic or 'of its point clouds'}; record it again")
    return [path / f"{index:06d}{MESSAGE}" for index in range(count)]


def read_message(path: Path, topic: str | None) -> Cloud:
    """Read one message as a cloud. Points at exactly (0, 0, 0) have had no return, and get no position.

    Raises:
        UserError: The message cannot be read, or its fields are wrong.
    """
    message = _open(path.parent, topic).message(int(path.stem))
    with naming(path):
        return from_fields(blank_no_return(columns(message)))


def refuse(path: Path, topic: str | None) -> Cloud:
    """Raise what is wrong with a recording of which no message is listed."""
    list_messages(path, topic)
    raise UserError(f"{path}: cannot be read as one cloud; give it as input, and each message is one")


class Recording:
    """The point clouds of one topic of an open recording, read one after the other or again.

    Args:
        path: The recording.
        topic: The topic, or None.

    Attributes:
        reader: The open reader of rosbags.
        connections: Those of the topic.
        count: Number of messages.

    Raises:
        UserError: See `list_messages`.
    """

    def __init__(self, path: Path, topic: str | None) -> None:
        self.path = path
        self.is_ros1 = path.suffix.lower() == ".bag" and not path.is_dir()
        self.reader = self._opened()
        self.connections = self._choose(topic)
        self.count: int = sum(connection.msgcount for connection in self.connections)
        self._store = typestore(self.is_ros1)
        self._times: list[int] = []  # of the messages passed so far
        self._messages = self._from(0)
        self._next = 0

    @property
    def topic(self) -> str:
        """The topic that is read."""
        name: str = self.connections[0].topic
        return name

    def message(self, index: int) -> Any:
        """Return a message; forwards the recording is read once, backwards it is searched by time.

        Raises:
            UserError: The recording ends before, or is damaged there.
        """
        if index < self._next:
            self._messages, self._next = self._from(index), index
        try:
            while True:
                _, time, raw = next(self._messages)
                if self._next == len(self._times):
                    self._times.append(time)
                self._next += 1
                if self._next > index:
                    return self.decode(raw)
        except StopIteration:
            raise UserError(
                f"{self.path}: ends after {self._next} messages, expected {self.count}; {_DAMAGED}"
            ) from None
        except Exception as error:  # rosbags raises many types, all of them about the file
            raise self._refused(error) from None

    def time(self, index: int) -> int:
        """Return the time in nanoseconds of a message that was read."""
        return self._times[index]

    def __del__(self) -> None:
        with suppress(Exception):
            self.reader.close()

    def decode(self, raw: bytes) -> Any:
        """Decode a message."""
        return self._store.deserialize_ros1(raw, TYPE) if self.is_ros1 else self._store.deserialize_cdr(raw, TYPE)

    def _opened(self) -> Any:
        if importlib.util.find_spec("rosbags") is None:
            raise UserError(f"{self.path}: reading recordings of ROS needs rosbags; pip install 'clusterseg[rosbags]'")
        from rosbags import rosbag1, rosbag2

        reader: Any = (rosbag1 if self.is_ros1 else rosbag2).Reader(self.path)
        try:
            reader.open()
        except Exception as error:
            raise self._refused(error) from None
        return reader

    def _choose(self, topic: str | None) -> list[Any]:
        clouds = [connection for connection in self.reader.connections if connection.msgtype == TYPE]
        counts = {
            name: sum(c.msgcount for c in clouds if c.topic == name) for name in sorted({c.topic for c in clouds})
        }
        listed = ", ".join(f"{name} ({count} messages)" for name, count in counts.items())
        if not counts:
            others = sorted({f"{c.topic} ({c.msgtype})" for c in self.reader.connections})
            shown = ", ".join(others[:_SHOWN]) + (", ..." if len(others) > _SHOWN else "")
            raise UserError(
                f"{self.path}: holds no sensor_msgs/PointCloud2; found {shown or 'nothing'}; "
                "record the driver's point clouds, or convert its packets to them"
            )
        if topic is not None and topic not in counts:
            raise UserError(f"{self.path}: topic={topic}: no such topic of point clouds; found {listed}")
        if topic is None and len(counts) > 1:
            raise UserError(f"{self.path}: several topics hold point clouds: {listed}; choose one by topic=NAME")
        return [connection for connection in clouds if connection.topic == (topic or next(iter(counts)))]

    def _from(self, index: int) -> Iterator[Any]:
        """Return the messages from an index on, of those passed before, or from the first on."""
        if not index:
            return iter(self.reader.messages(self.connections))
        time = self._times[index]
        messages = iter(self.reader.messages(self.connections, start=time))
        for _ in range(sum(earlier >= time for earlier in self._times[:index])):
            next(messages)
        return messages

    def _refused(self, error: Exception) -> UserError:
        return UserError(f"{self.path}: cannot be read ({error_line(error)}); {_DAMAGED}")


_DAMAGED = (
    "the recording is cut short or damaged, or was not closed: mend it by `rosbag reindex`, `ros2 bag reindex` or "
    "`mcap recover`, or copy it again"
)


def typestore(is_ros1: bool) -> Any:
    """Return the message types of rosbags; PointCloud2 is the same in all releases of ROS 1, and of ROS 2."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.ROS2_HUMBLE)


def _open(path: Path, topic: str | None) -> Recording:
    """Return the open recording of this process: opening it for each message would read its index each time."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check input") from None
    return _opened(path, topic, changed, os.getpid())


@lru_cache(maxsize=2)  # while the last message of one is written, the first of the next is read
def _opened(path: Path, topic: str | None, changed: int, process: int) -> Recording:
    """Open recordings; a process that was forked opens its own, for the two would share a place in the file."""
    return Recording(path, topic)
