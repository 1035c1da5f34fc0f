"""Decompress a .laz file in a separate process: `python -m clusterseg.data.clouds.unlaz SOURCE TARGET BYTES`.

The decompressor trusts a damaged file's sizes, and aborts the process when memory runs out. A separate process with a
memory limit confines this; the file is then refused.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from clusterseg.errors import UserError

_BASE = 640 << 20  # bytes of address space for Python itself and the decompressor
_SECONDS, _SPEED = 60.0, 1e6  # minimum time limit, and bytes of points per second


def unlaz(source: Path, target: Path, point_bytes: int) -> None:
    """Write a .laz file as .las.

    Args:
        source: The .laz file.
        target: The .las file.
        point_bytes: Bytes of points that the header declares.

    Raises:
        UserError: It is damaged.
    """
    command = [sys.executable, "-m", "clusterseg.data.clouds.unlaz", str(source), str(target), str(point_bytes)]
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "RUST_BACKTRACE": "0", "OPENBLAS_NUM_THREADS": "1"}
    limit = _SECONDS + point_bytes / _SPEED
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise UserError(f"{source}: cannot be read (not unpacked after {limit:.0f} s); the file is damaged") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").splitlines()
        lines = [line.strip() for line in said if line.strip() and not line.startswith("note:")]
        reason = lines[-1] if lines else f"it ended with {done.returncode}"
        raise UserError(f"{source}: cannot be read ({reason[:200]}); the file is damaged or no {source.suffix} file")


def main(source: str, target: str, point_bytes: str) -> None:
    """Decompress within a memory limit; an exception of laspy ends the process."""
    import laspy

    limit = _BASE + 4 * int(point_bytes)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    # One thread: the parallel decompressor needs more memory than the points themselves.
    with laspy.open(source, read_evlrs=False, laz_backend=laspy.LazBackend.Lazrs) as reader:
        points = reader.read_points(-1)
        laspy.LasData(reader.header, points).write(target, do_compress=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
