"""The reader interface for custom data sets: list the scans of a split and read a scan."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Integer

from clusterseg.errors import UserError, error_line

log = logging.getLogger("clusterseg")


@dataclass(frozen=True, eq=False)
class Scan:
    """One scan as returned by a reader.

    Attributes:
        points: One row per point: x, y, z in metres in the sensor's frame (z up), then the reader's other features.
        labels: Raw label of each point, or None without labels. The low 16 bits are the class id, the bits above them
            an instance number (0: none).
        context: Points of other scans in this scan's frame, with the same columns. A network sees them and trains on
            them; they are neither scored nor written.

    Examples:
        >>> import numpy as np
        >>> scan = Scan(np.zeros((5, 4), np.float32), np.array([10 | 3 << 16] * 5))  # five points of car number 3
        >>> scan.labels & 0xFFFF, scan.labels >> 16
        (array([10, 10, 10, 10, 10]), array([3, 3, 3, 3, 3]))
    """

    points: Float32[np.ndarray, "points channels"]
    labels: Integer[np.ndarray, " points"] | None = None
    context: Scan | None = None


class Reader(ABC):
    """A data set on disk. Write a subclass to train on your own data.

    A scan is identified by a string that is unique in the data set, such as `08/000004`. Readers are copied into
    loader processes: store paths, not open files.

    Attributes:
        features: Names of the columns of `Scan.points`. The first three are x, y, z; remission, if there is one, is
            scaled to 0..1.
        no_return: Whether rows without a return are usual. Their x, y, z are NaN, of which there is no warning.

    Examples:
        >>> class Numpy(Reader):
        ...     features = ("x", "y", "z")
        ...
        ...     def scans(self, split):
        ...         return ["first"]
        ...
        ...     def read(self, scan_id):
        ...         return Scan(np.zeros((5, 3), np.float32))
        >>> Numpy().read("first").points.shape
        (5, 3)
    """

    features: tuple[str, ...] = ("x", "y", "z", "remission")
    no_return: ClassVar[bool] = False

    @abstractmethod
    def scans(self, split: str) -> Sequence[str]:
        """List the scans of a split, in order.

        Args:
            split: `train`, `val`, `test`, or `all` for every scan there is.

        Raises:
            UserError: The data set is defective.
        """

    @abstractmethod
    def read(self, scan_id: str) -> Scan:
        """Read a scan.

        Raises:
            UserError: The file is missing or damaged.
        """

    def unchecked(self, split: str) -> Sequence[str]:
        """List the scans of a split with as few checks as possible.

        `clusterseg check` reads these, so that it reports every defect of a data set and not only the first. Override
        it where `scans` refuses a data set for a file that `read` would name.

        Raises:
            UserError: There is nothing to list.
        """
        return self.scans(split)

    def has_split(self, split: str) -> bool:
        """Return whether a split has scans. Override it if this is known without reading the disk."""
        with own_errors(self):
            return bool(self.scans(split))

    def prediction_name(self, scan_id: str) -> str:
        """Return the path of a scan's predicted labels within a folder of predictions."""
        return f"{scan_id}.label"

    def source(self, scan_id: str, what: str = "points") -> str:
        """Return the name of the file of a scan's `points` or `labels`, for messages."""
        return scan_id

    def modes(self, scan_id: str) -> Mapping[int, int] | None:
        """Return the known subclass of each instance number, or None if the data set has no subclasses.

        Subclasses are numbered within their class. Clusters are compared with them at the end of a run.
        """
        return None

    def mode_names(self) -> Mapping[str, Sequence[str]]:
        """Return the names of the known subclasses by class name; empty if the data set has none."""
        return {}

    def instance_scope(self, scan_id: str) -> str:
        """Return what instance numbers are unique in: the scan, or a recording in which things keep their numbers."""
        return scan_id


@contextmanager
def own_errors(
    reader: Reader, place: str = "data", remedy: str = "check the folder that it is given, or mend it"
) -> Iterator[None]:
    """Turn what a reader of one's own raises, which may be anything, into a message; ours raise `UserError`.

    Args:
        reader: The reader that is called.
        place: What the message begins with.
        remedy: What it ends with.

    Raises:
        UserError: Something else was raised.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if type(reader).__module__.startswith("clusterseg."):
            raise
        log.debug("%s", place, exc_info=True)
        where = "(hydra.verbose=true shows where it was raised)"
        raise UserError(f"{place}: {raised_by(reader, error)}; {remedy} {where}") from error


def raised_by(reader: Reader, error: Exception) -> str:
    """Return a reader's exception in words."""
    return f"{type(reader).__name__} raised {type(error).__name__}: {error_line(error)}"
