"""Examine every scan of some splits, in several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch.utils.data import Dataset

from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.dataset import none_listed, read_checked
from clusterseg.data.label_map import LabelMap
from clusterseg.data.loader import ScanLoader, start_worker
from clusterseg.data.reader import Reader, raised_by
from clusterseg.doctor.facts import ScanFacts, measure
from clusterseg.errors import UserError, error_line

SPLITS = ("train", "val", "test")
#: Edges in metres of the voxels among which one is suggested.
LADDER = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
_MEASURED = 32  # scans that are voxelised at all of these edges
_PER_PROCESS = 50  # scans that are worth a process of their own


@dataclass(frozen=True, eq=False)
class Survey:
    """All figures of a data set.

    Attributes:
        facts: The figures of each scan, split after split, in the reader's order.
        class_names: One name per train id.
        label_map: Name of the label map.
        features: Names of the columns of the points.
        voxel_size: Edge of a voxel in metres.
        max_voxels: Cap on the voxels of a training scan, or None.
        unlisted: Why the scans of a split cannot be listed, by split.
        no_return: Whether the reader says that points without a position are usual.
    """

    facts: Sequence[ScanFacts]
    class_names: tuple[str, ...]
    label_map: str
    features: tuple[str, ...]
    voxel_size: float
    max_voxels: int | None
    unlisted: Mapping[str, str] = field(default_factory=dict)
    no_return: bool = False

    @cached_property
    def read(self) -> list[ScanFacts]:
        """The scans that could be read."""
        return [facts for facts in self.facts if facts.error is None]

    @cached_property
    def splits(self) -> dict[str, list[ScanFacts]]:
        """The scans that could be read, by split; a split with scans of which none could be read is empty."""
        found: dict[str, list[ScanFacts]] = {facts.split: [] for facts in self.facts}
        for facts in self.read:
            found[facts.split].append(facts)
        return found


def list_jobs(data: ScanDataModule, splits: Sequence[str]) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """List the scans of splits as (split, scan id), and why the scans of others cannot be listed.

    Splits that the data set does not have are left out; if it has none of them, the first one cannot be listed.
    """
    jobs: list[tuple[str, str]] = []
    unlisted: dict[str, str] = {}
    for split in [split for split in splits if split not in SPLITS or data.reader.has_split(split)] or splits[:1]:
        try:
            found = list(data.reader.unchecked(split))[: data.max_scans]
        except UserError as error:
            unlisted[split] = str(error)
            continue
        if not found:
            unlisted[split] = none_listed(data.reader, split)
        jobs += [(split, scan_id) for scan_id in found]
    return jobs, unlisted


def default_workers(scans: int) -> int:
    """Number of processes for so many scans: one per core, none for few scans."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = min(cores, scans // _PER_PROCESS)
    return wanted if wanted > 1 else 0


def examine(data: ScanDataModule, jobs: Sequence[tuple[str, str]], workers: int) -> Iterator[ScanFacts]:
    """Yield the figures of each scan in order; each process holds one scan at a time.

    Raises:
        UserError: A process died or hangs.
    """
    patients = Patients(data.reader, data.label_map, data.voxel_size, jobs)
    loader = ScanLoader(patients, batch_size=None, num_workers=workers, worker_init_fn=start_worker)
    try:
        yield from loader  # type: ignore[misc]  # without a batch size it yields patients
    except RuntimeError as error:
        raise UserError(
            f"a process that reads scans was killed ({error_line(error)}); it may lack memory, or the reader crashes: "
            "set workers=0 to read in this process"
        ) from error


class Patients(Dataset[ScanFacts]):
    """The scans of a data set as their figures.

    Args:
        reader: Reads the scans.
        label_map: The classes.
        voxel_size: Edge of a voxel in metres.
        jobs: Split and id of each scan.
    """

    def __init__(self, reader: Reader, label_map: LabelMap, voxel_size: float, jobs: Sequence[tuple[str, str]]) -> None:
        self.reader, self.label_map, self.voxel_size = reader, label_map, voxel_size
        self.jobs = list(jobs)
        self._stride = max(1, len(self.jobs) // _MEASURED)

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, index: int) -> ScanFacts:
        """Read and measure a scan; whatever its reader raises becomes the scan's error."""
        split, scan_id = self.jobs[index]
        source = scan_id
        ladder = LADDER if index % self._stride == 0 else ()
        try:
            source = self.reader.source(scan_id)
            scan = read_checked(self.reader, scan_id)
            names = (split, scan_id, source)
            return measure(scan, names, self.reader.features, self.label_map, self.voxel_size, ladder)
        except UserError as error:
            return ScanFacts(split, scan_id, source, str(error))
        except Exception as error:  # a reader of one's own may meet a damaged file with any exception
            return ScanFacts(split, scan_id, source, f"{source}: {raised_by(self.reader, error)}")
