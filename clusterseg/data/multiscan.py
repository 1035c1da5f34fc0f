"""Several scans of a sequence as one: those before a scan, moved into its frame, as its context."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from clusterseg.data.poses import frame_times, lidar_poses, require_frames
from clusterseg.data.reader import Scan
from clusterseg.data.sequences import ScanFiles
from clusterseg.errors import UserError

#: Name of the input channel that tells merged scans apart: seconds from the point's scan to the newest one.
AGE = "age"


class Earlier(NamedTuple):
    """A scan before another one.

    Attributes:
        files: Its files.
        motion: From its frame to that of the newer scan.
        age: Seconds from it to the newer scan.
    """

    files: ScanFiles
    motion: Float64[np.ndarray, "4 4"]
    age: float


@dataclass(frozen=True, eq=False)
class Track:
    """The scans of a sequence with their poses.

    Attributes:
        scans: The scans, in order.
        poses: Pose of the lidar at each scan, see `lidar_poses`.
        times: Time of each scan in seconds.
    """

    scans: Sequence[ScanFiles]
    poses: Float64[np.ndarray, "scans 4 4"]
    times: Float64[np.ndarray, " scans"]

    def before(self, scan: ScanFiles, count: int) -> list[Earlier]:
        """Return the `count` scans before a scan, the newest first; fewer at the start of the sequence."""
        newest = next(i for i, other in enumerate(self.scans) if other.scan_id == scan.scan_id)
        here = np.linalg.inv(self.poses[newest])
        return [
            Earlier(self.scans[i], here @ self.poses[i], float(self.times[newest] - self.times[i]))
            for i in range(newest - 1, max(newest - 1 - count, -1), -1)
        ]


def tracks(scans: Iterable[ScanFiles]) -> dict[str, Track]:
    """Return the track of each sequence by its name. A scan's frame number is its line in `poses.txt`, from 0.

    Raises:
        UserError: Poses are missing, malformed, or fewer than the scans.
    """
    by_sequence = groupby(scans, key=lambda files: files.scan_id.split("/")[0])
    return {name: _track(list(group)) for name, group in by_sequence}


def _track(scans: list[ScanFiles]) -> Track:
    sequence = scans[0].scan.parents[1]
    frames = [_frame_number(files) for files in scans]
    poses = lidar_poses(sequence)
    require_frames(sequence / "poses.txt", len(poses), max(frames) + 1)
    return Track(scans, poses[frames], frame_times(sequence, max(frames) + 1)[frames])


def _frame_number(files: ScanFiles) -> int:
    if not files.scan.stem.isdecimal():
        raise UserError(
            f"{files.scan}: the file's name is no frame number, which chooses its line in poses.txt; "
            "name it as 000000.bin, or set data.window=1 to merge no scans"
        )
    return int(files.scan.stem)


def with_context(newest: Scan, earlier: Sequence[tuple[Scan, Earlier]]) -> Scan:
    """Return a scan with the column `AGE`, and with earlier scans in its frame as its context.

    Args:
        newest: The scan, without context.
        earlier: Scans before it, without context.
    """
    parts = [with_age(_moved(scan.points, place.motion), place.age) for scan, place in earlier]
    labels = [scan.labels for scan, _ in earlier if scan.labels is not None]
    points = with_age(newest.points, 0.0)
    if not parts:
        return Scan(points, newest.labels)
    whole = np.concatenate(labels) if len(labels) == len(parts) else None
    return Scan(points, newest.labels, Scan(np.concatenate(parts), whole))


def with_age(
    points: Float32[np.ndarray, "points channels"], age: float
) -> Float32[np.ndarray, "points channels_and_age"]:
    """Return the points with a further column of the same age, in seconds."""
    return np.column_stack([points, np.full(len(points), age, np.float32)])


def _moved(
    points: Float32[np.ndarray, "points channels"], motion: Float64[np.ndarray, "4 4"]
) -> Float32[np.ndarray, "points channels"]:
    """Return the points in another frame; computed in float64, for poses are kilometres from frame 0."""
    moved = points.copy()
    with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite stay so
        moved[:, :3] = points[:, :3].astype(np.float64) @ motion[:3, :3].T + motion[:3, 3]
    return moved
