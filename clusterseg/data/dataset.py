"""A PyTorch dataset of a reader's scans."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, Int64
from torch.utils.data import Dataset

from clusterseg.data.augment.labelled import LabelledScan, Mix
from clusterseg.data.augment.partners import partners
from clusterseg.data.augment.read import all_labels, all_points, all_targets, labelled
from clusterseg.data.label_map import LabelMap
from clusterseg.data.reader import Reader, Scan, own_errors
from clusterseg.data.sample import Sample, build_sample
from clusterseg.data.scan import naming
from clusterseg.data.subjects import subjects_of
from clusterseg.data.transforms import Transform
from clusterseg.data.voxelize import VOXEL_SIZE
from clusterseg.errors import UserError

logger = logging.getLogger("clusterseg")
#: (epoch, index of the scan, index of the second scan to mix with, cap on its voxels)
Key: TypeAlias = tuple[int, int, int, int] | tuple[int, int, int] | tuple[int, int] | int
Points: TypeAlias = Float32[np.ndarray, "points channels"]
Targets: TypeAlias = Int64[np.ndarray, " points"]
Drawn: TypeAlias = tuple[Points, Targets | None, Targets | None, int]


class ScanDataset(Dataset[Sample]):
    """The scans of a split, as `Sample`s.

    A sample is a function of (seed, epoch, index) alone, independent of the number of workers and the rank. The
    sampler puts the epoch into the key, so persistent workers need no update.

    Args:
        reader: Lists and reads the scans.
        split: See `Reader.scans`. Scans of `train` and `val` need labels.
        label_map: Raw ids to train ids.
        voxel_size: Edge of a voxel in metres.
        max_voxels: Cap on the voxels of a scan; None for no cap, as in evaluation.
        transforms: Augmentation, applied in order; none in evaluation.
        seed: Seed of augmentation and cap.
        max_scans: Only the first so many scans; None for all.
        spread: Only so many of these, spread evenly; None for all.
        keep_points: Whether samples contain the points as on disk; with mixes, the mixed points before any transform.
        mixes: Augmentation of points and labels together, applied in order before the transforms; see `Mix.bound`.
        train_on_context: Whether the points of a scan's context are points of the sample, as in training; otherwise
            they only have voxels. See `Scan`.
        subjects: Whether samples contain the subjects of voxels and points, see `clusterseg.data.subjects`.
        two_views: Whether samples contain a second view: the same points with other draws of transforms and cap.

    Raises:
        UserError: The reader lists no scan, or finds a defect in the data set.
    """

    def __init__(
        self,
        reader: Reader,
        split: str,
        label_map: LabelMap,
        *,
        voxel_size: float = VOXEL_SIZE,
        max_voxels: int | None = None,
        transforms: Sequence[Transform] = (),
        seed: int = 0,
        max_scans: int | None = None,
        spread: int | None = None,
        keep_points: bool = False,
        mixes: Sequence[Mix] = (),
        train_on_context: bool = False,
        subjects: bool = False,
        two_views: bool = False,
    ) -> None:
        self.reader = reader
        self.split = split
        self.label_map = label_map
        self.voxel_size = voxel_size
        self.max_voxels = max_voxels
        self.transforms = tuple(transforms)
        self.seed = seed
        self.keep_points = keep_points
        self.mixes = tuple(mixes)
        self.train_on_context = train_on_context
        self.subjects = subjects
        self.two_views = two_views
        with own_errors(reader):
            listed = list(reader.scans(split))
        self.scan_ids = evenly(listed[:max_scans], spread)
        if not self.scan_ids:
            raise UserError(none_listed(reader, split))
        self._warned: set[str] = set()

    def __len__(self) -> int:
        return len(self.scan_ids)

    def __getitem__(self, key: Key) -> Sample:
        """Return a sample.

        Args:
            key: (epoch, index, second), where `second` is the index of the scan to mix with; (epoch, index) takes the
                second scan from `partners`; an index alone means epoch 0. An index of at least `len(self)` is a further
                draw of the scan `index % len(self)`, with an augmentation of its own. A fourth number is a cap on its
                voxels beside `max_voxels`.

        Raises:
            UserError: The scan cannot be read, has an unknown label, no finite point, or spans too many voxels.
        """
        epoch, index, *more = key if isinstance(key, tuple) else (0, key)
        second, caps = more[:1], [cap for cap in (self.max_voxels, *more[1:]) if cap is not None]
        scan = index % len(self)
        scan_id = self.scan_ids[scan]
        points, targets, subjects, own = self._mixed(epoch, index, *second) if self.mixes else self._plain(scan)
        with naming(self.reader.source(scan_id)):
            return build_sample(
                points,
                targets,
                scan_id,
                voxel_size=self.voxel_size,
                max_voxels=min(caps, default=None),
                transforms=self.transforms,
                rng=np.random.default_rng([self.seed, epoch, index]),
                keep_points=self.keep_points,
                num_points=own,
                subjects=subjects,
                view_rng=self._stream(epoch, index, 2) if self.two_views else None,
            )

    def read(self, index: int) -> Scan:
        """Read a scan and check its arrays.

        Raises:
            UserError: It cannot be read, its arrays are inconsistent, or a reader of one's own raised anything else.
        """
        scan_id = self.scan_ids[index]
        with own_errors(self.reader, scan_id, "mend the file or the reader, or leave the scan out"):
            return read_checked(self.reader, scan_id)

    def labelled(self, index: int) -> LabelledScan:
        """Return a scan, its context included, with train ids and instance numbers.

        Raises:
            UserError: As `read`; a label is unknown; or labels are missing from a split that needs them.
        """
        scan = self._read_for_split(index)
        with naming(self.reader.source(self.scan_ids[index], "labels")):
            return labelled(scan, self.label_map, self._subjects(index, scan))

    def _plain(self, index: int) -> Drawn:
        """Return points as on disk, their train ids (None without labels), subjects, and how many are its own."""
        scan = self._read_for_split(index)
        with naming(self.reader.source(self.scan_ids[index], "labels")):
            targets = all_targets(scan, self.label_map)
        points = all_points(scan)
        own = len(points if self.train_on_context else scan.points)
        return points, targets, self._subjects(index, scan), own

    def _subjects(self, index: int, scan: Scan) -> Targets | None:
        """Return the subject of each point, its context's too; None if nothing asks for them or there are no labels."""
        if not self.subjects or scan.labels is None:
            return None
        scan_id = self.scan_ids[index]
        return subjects_of(all_labels(scan), self.reader.instance_scope(scan_id), self.reader.modes(scan_id))

    def _mixed(self, epoch: int, index: int, second: int | None = None) -> Drawn:
        """Return points, train ids, subjects and number of points of a scan after the mixes, with a second if needed.

        Mixes use a separate random stream: the transforms draw the same numbers with and without mixes.
        """
        number = index % len(self)
        scan, other = self.labelled(number), None
        if any(mix.needs_other for mix in self.mixes):
            other = self.labelled(int(partners(self.seed, epoch, len(self))[number]) if second is None else second)
        rng = self._stream(epoch, index, 1)
        for mix in self.mixes:
            scan = mix(scan, other, rng)
        return scan.points, scan.targets, scan.subjects, len(scan)

    def _stream(self, epoch: int, index: int, number: int) -> np.random.Generator:
        """Return a random stream apart from that of the transforms: 1 for mixes, 2 for the second view."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, epoch, index], spawn_key=(number,)))

    def _read_for_split(self, index: int) -> Scan:
        """Read a scan; scans for training and validation must have labels."""
        scan_id, scan = self.scan_ids[index], self.read(index)
        self._warn_invalid(self.reader.source(scan_id), scan.points)
        if scan.labels is None and self.split in ("train", "val"):
            raise UserError(f"{scan_id}: no labels, which training and validation need; add them or leave it out")
        return scan

    def _warn_invalid(self, source: str, points: Points) -> None:
        finite = np.isfinite(points)
        if finite.all() or self.reader.no_return or source in self._warned:
            return
        self._warned.add(source)
        count = int((~finite.all(axis=1)).sum())
        logger.warning("%s: %d of %d points have values that are NaN or infinite", source, count, len(points))


def none_listed(reader: Reader, split: str) -> str:
    """Return the message for a split without a scan."""
    root = getattr(reader, "root", None)
    return (
        f"data: {type(reader).__name__} lists no scan of the split {split}{f' under {root}' if root else ''}; check "
        "the folder (data.root, or data.reader.root of a reader of your own) and what the reader looks for in it"
    )


def read_checked(reader: Reader, scan_id: str) -> Scan:
    """Read a scan and check its arrays, those of its context too.

    Raises:
        UserError: It cannot be read, or its arrays are inconsistent.
    """
    scan = reader.read(scan_id)
    _check_arrays(reader, scan_id, scan)
    if scan.context is not None:
        _check_arrays(reader, f"context of {scan_id}", scan.context)
    return scan


def _check_arrays(reader: Reader, name: str, scan: Scan) -> None:
    columns = len(reader.features)
    points = scan.points
    if points.ndim != 2 or points.shape[1] != columns or points.dtype != np.float32 or not len(points):
        raise UserError(
            f"{name}: {type(reader).__name__} returned points {points.shape} of {points.dtype}; expected "
            f"(points, {columns}) of float32, one column for each of {', '.join(reader.features)}"
        )
    if scan.labels is not None and scan.labels.shape != (len(points),):
        raise UserError(f"{name}: labels of shape {scan.labels.shape}; expected one for each of {len(points)} points")


def evenly(scan_ids: list[str], count: int | None) -> list[str]:
    """Take so many of a list, spread evenly over it; None for all.

    Raises:
        UserError: There are fewer.

    Examples:
        >>> evenly(["a", "b", "c", "d", "e", "f"], 2)
        ['b', 'e']
    """
    if count is None:
        return scan_ids
    if count > len(scan_ids):
        raise UserError(f"data.train_scans={count}: the training split has only {len(scan_ids)} scans")
    return [scan_ids[(2 * i + 1) * len(scan_ids) // (2 * count)] for i in range(count)]
