"""Poses of a sequence in the KITTI layout: where the lidar stood at each frame, and when."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from clusterseg.errors import UserError

log = logging.getLogger("clusterseg")
# `Tr` of KITTI's three recording days (the calib.txt of its odometry benchmark), by the focal length in its P0. The
# calib.txt in the archives of its images has the cameras only.
_KITTI_TR = {
    718.856: """4.276802385584e-04 -9.999672484946e-01 -8.084491683471e-03 -1.198459927713e-02
        -7.210626507497e-03 8.081198471645e-03 -9.999413164504e-01 -5.403984729748e-02
        9.999738645903e-01 4.859485810390e-04 -7.206933692422e-03 -2.921968648686e-01""",
    721.5377: """2.347736981471e-04 -9.999441545438e-01 -1.056347781105e-02 -2.796816941295e-03
        1.044940741659e-02 1.056535364138e-02 -9.998895741176e-01 -7.510879138296e-02
        9.999453885620e-01 1.243653783865e-04 1.045130299567e-02 -2.721327964059e-01""",
    707.0912: """-1.857739385241e-03 -9.999659513510e-01 -8.039975204516e-03 -4.784029760483e-03
        -6.481465826011e-03 8.051860151134e-03 -9.999466081774e-01 -7.337429464231e-02
        9.999773098287e-01 -1.805528627661e-03 -6.496203536139e-03 -3.339968064433e-01""",
}
_PERIOD = 0.1  # seconds between two frames of KITTI, where there is no times.txt
_REMEDY = "scans are merged by it (data.window): download it, or set data.window=1"


def lidar_poses(sequence: Path) -> Float64[np.ndarray, "frames 4 4"]:
    """Return the pose of the lidar at each frame: from its frame at that time to that at frame 0, in metres.

    `poses.txt` has a line per frame, the first three rows of the pose of the left camera; `Tr` of `calib.txt` leads
    from the lidar to that camera. The lidar's pose is therefore inv(Tr) @ pose @ Tr (semantic-kitti-api,
    `generate_sequential.py`).

    Args:
        sequence: The folder of the sequence.

    Raises:
        UserError: A file is missing or malformed.
    """
    path = sequence / "poses.txt"
    rows = [_matrix(line, f"{path}: line {i + 1}") for i, line in enumerate(_lines(path))]
    to_camera = _lidar_to_camera(sequence / "calib.txt")
    poses: np.ndarray = np.linalg.inv(to_camera) @ np.array(rows).reshape(-1, 4, 4) @ to_camera
    return poses


def frame_times(sequence: Path, frames: int) -> Float64[np.ndarray, " frames"]:
    """Return the time of the first `frames` frames in seconds, from `times.txt`, or at KITTI's 0.1 s without one.

    Raises:
        UserError: The file is malformed or has fewer lines.
    """
    path = sequence / "times.txt"
    if not path.is_file():
        return np.arange(frames) * _PERIOD
    times = np.array([_numbers(line, 1, f"{path}: line {i + 1}")[0] for i, line in enumerate(_lines(path))])
    require_frames(path, len(times), frames)
    return times[:frames]


def require_frames(path: Path, lines: int, frames: int) -> None:
    """Check that a file with a line per frame has enough of them.

    Raises:
        UserError: It has fewer lines than frames.
    """
    if lines < frames:
        raise UserError(
            f"{path}: {lines} lines, but the last scan is frame {frames - 1:06d}, so {frames} are needed, one per "
            "frame; download the file again, or set data.window=1 to merge no scans"
        )


def _lidar_to_camera(path: Path) -> Float64[np.ndarray, "4 4"]:
    """Return `Tr` of a calibration file; where it is missing, that of the KITTI day with the same camera."""
    entries = {name.strip(): rest for name, _, rest in (line.partition(":") for line in _lines(path))}
    found = entries.get("Tr")
    if found is None:
        found = _KITTI_TR.get(_focal_length(entries.get("P0", "")))
        if found is None:
            raise UserError(f"{path}: has no line `Tr: ` with 12 numbers, from lidar to camera; {_REMEDY}")
        log.info("%s: has no Tr; that of KITTI's recordings with this camera is taken", path)
    matrix = _matrix(found, f"{path}: Tr")
    if abs(np.linalg.det(matrix)) < 1e-6:
        raise UserError(f"{path}: Tr cannot be inverted, it is no rigid motion; download the file again")
    return matrix


def _focal_length(projection: str) -> float:
    try:
        return float(projection.split()[0])
    except (IndexError, ValueError):
        return float("nan")


def _matrix(text: str, where: str) -> Float64[np.ndarray, "4 4"]:
    return np.vstack([np.reshape(_numbers(text, 12, where), (3, 4)), (0, 0, 0, 1)])


def _numbers(text: str, count: int, where: str) -> list[float]:
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise UserError(f"{where}: got {text[:60]!r}, expected {count} finite number(s); download the file again")
    return numbers


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UserError(f"{path}: cannot be read ({reason}); {_REMEDY}") from None
