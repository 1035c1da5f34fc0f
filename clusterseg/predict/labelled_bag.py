"""Write the predictions of a recording as a recording of coloured clouds, which RViz and Foxglove show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Integer

from clusterseg.data.clouds.bag import SUFFIXES, TYPE, Recording, is_folder, is_message, typestore
from clusterseg.data.clouds.cloud import from_fields
from clusterseg.data.clouds.pointcloud2 import columns, packed
from clusterseg.data.label_map import IGNORE_INDEX, LabelMap
from clusterseg.data.scan import naming, read_labels
from clusterseg.errors import UserError
from clusterseg.files import temporary_name
from clusterseg.predict.output import OutputFolder

_VERSION: Literal[8] = 8  # of the metadata of a recording of ROS 2: that of Iron, which later releases read too
_ENDING = "_labelled"


def bag_files(targets: Mapping[Path, Path]) -> dict[Path, tuple[Path, ...]]:
    """Return the files of the labelled recording of each recording among the inputs, the last one to be written last.

    The labels of `drive.bag` are in `DIR/drive`; its labelled recording is `DIR/drive_labelled.bag`. That of one of
    ROS 2 is a folder `DIR/drive_labelled`, in the storage format of the input.

    Args:
        targets: The `.label` file of each input.
    """
    folders = {cloud.parent: target.parent for cloud, target in targets.items() if is_message(cloud)}
    return {recording: _files(recording, folder) for recording, folder in folders.items()}


def _files(recording: Path, labels: Path) -> tuple[Path, ...]:
    name = labels.with_name(labels.name + _ENDING)
    if recording.suffix.lower() == ".bag" and not recording.is_dir():
        return (name.with_name(f"{name.name}.bag"),)
    return (name / f"{name.name}{_storage(recording)}", name / "metadata.yaml")


def _storage(recording: Path) -> str:
    """Return the ending of the files of a recording of ROS 2."""
    if recording.suffix.lower() in SUFFIXES and not is_folder(recording):
        return recording.suffix.lower()
    return ".mcap" if any(".mcap" in entry.name for entry in recording.iterdir()) else ".db3"


def write_labelled(
    output: OutputFolder, recording: Path, topic: str | None, targets: Mapping[Path, Path], label_map: LabelMap
) -> None:
    """Write the labelled recording of a recording; messages without predictions are left out.

    It has one topic, named after the input's with `/labelled`, whose clouds have the fields x, y, z, intensity (in the
    input's own scale), label (raw id) and rgb (the colour of the class, as the Point Cloud Library packs it).

    Args:
        output: The output folder.
        recording: The input.
        topic: Its topic, or None.
        targets: The `.label` file of each input.
        label_map: The classes and their colours.

    Raises:
        UserError: The recording cannot be read or written.
    """
    files = bag_files(targets)[recording]
    scratch = output.path / temporary_name(files[0].stem)
    for leftover in output.path.glob(temporary_name(files[0].stem, "*")):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        scratch.mkdir()
        source = Recording(recording, topic)
        _write(scratch / files[0].stem, files, source, _labelled(source, targets, label_map))
        folder = scratch if len(files) == 1 else scratch / files[0].stem
        for file in files:
            output.put(folder / file.name, file)
    except OSError as error:
        raise UserError(
            f"{files[0]}: cannot be written ({error.strerror}); choose a folder that you may write, on a disk with room"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _labelled(source: Recording, targets: Mapping[Path, Path], label_map: LabelMap) -> Iterator[tuple[int, Any]]:
    """Yield time and labelled message of each message that is predicted."""
    labels = {int(cloud.stem): target for cloud, target in targets.items() if cloud.parent == source.path}
    for index in sorted(index for index, target in labels.items() if target.is_file()):
        message = source.message(index)
        raw = read_labels(labels[index], message.height * message.width)
        with naming(source.path):
            labelled = labelled_message(message, raw, label_map, source.is_ros1)
        yield source.time(index), labelled


def labelled_message(message: Any, labels: Integer[np.ndarray, " points"], label_map: LabelMap, is_ros1: bool) -> Any:
    """Return a cloud of the same header, rows and positions with the fields of `write_labelled`.

    Args:
        message: The input.
        labels: Raw id of each point.
        label_map: The classes and their colours.
        is_ros1: Whether the message is one of ROS 1.
    """
    cloud = from_fields(columns(message))
    train = label_map.raw_to_train[labels.astype(np.int64) & 0xFFFF]
    colours = np.zeros((256, 3), np.uint32)  # black where unlabeled
    colours[: label_map.num_classes] = label_map.colours
    red, green, blue = colours[np.where(train < 0, IGNORE_INDEX, train)].T
    intensity = np.zeros(len(labels)) if cloud.remission is None else cloud.remission
    with np.errstate(over="ignore"):
        found = dict(zip("xyz", cloud.xyz.T.astype(np.float32), strict=True)) | {
            "intensity": intensity.astype(np.float32),
            "label": labels.astype(np.uint32),
            "rgb": (red << 16 | green << 8 | blue).astype(np.uint32).view(np.float32),
        }
    fields, step, data = packed(found)
    field = typestore(is_ros1).types["sensor_msgs/msg/PointField"]
    return replace(
        message,
        fields=[field(name, offset, datatype, 1) for name, offset, datatype in fields],
        is_bigendian=False,
        point_step=step,
        row_step=step * message.width,
        data=data,
        is_dense=bool(np.isfinite(cloud.xyz).all()),
    )


def _write(path: Path, files: tuple[Path, ...], source: Recording, messages: Iterator[tuple[int, Any]]) -> None:
    """Write messages as a recording with the stem of `path`."""
    from rosbags import rosbag1, rosbag2

    store = typestore(source.is_ros1)
    topic = f"{source.topic}/labelled"
    if source.is_ros1:
        with rosbag1.Writer(path.with_name(files[0].name)) as bag:
            connection = bag.add_connection(topic, TYPE, typestore=store)
            for time, message in messages:
                bag.write(connection, time, store.serialize_ros1(message, TYPE))
        return
    plugin = rosbag2.StoragePlugin.MCAP if files[0].suffix == ".mcap" else rosbag2.StoragePlugin.SQLITE3
    profiles = source.connections[0].ext.offered_qos_profiles
    with rosbag2.Writer(path, version=_VERSION, storage_plugin=plugin) as recording:
        connection = recording.add_connection(topic, TYPE, typestore=store, offered_qos_profiles=profiles)
        for time, message in messages:
            recording.write(connection, time, store.serialize_cdr(message, TYPE))
