"""Reader of SemanticKITTI's layout: sequences of `.bin` scans and `.label` files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from clusterseg.data.multiscan import AGE, Track, tracks, with_context
from clusterseg.data.protocol import choose_sequences
from clusterseg.data.reader import Reader, Scan
from clusterseg.data.scan import read_labels, read_scan
from clusterseg.data.sequences import ScanFiles, find_sequences, list_scans
from clusterseg.errors import UserError


class SemanticKittiReader(Reader):
    """Reads SemanticKITTI (Behley et al., ICCV 2019) and data sets in its layout.

    Args:
        root: A folder that holds 00, 01, ..., or one with a folder `sequences` that does.
        protocol: `train` (00-07, 09, 10; validates on 08) or `trainval` (00-10; no validation). Test is 11-21.
        sequences: Lists under train, val, test that replace the protocol's, for a partial download. None takes those of
            the protocol.
        window: Scans that are merged into one: the newest, and those on disk before it in its frame, by `poses.txt`
            and `calib.txt`. From 2 on there is a channel `age`, the seconds before the newest. 1 merges none.

    Raises:
        UserError: The protocol, a list or the window is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        protocol: str = "train",
        sequences: Mapping[str, Iterable[int | str] | int | None] | None = None,
        window: int = 1,
    ) -> None:
        if window < 1:
            raise UserError(f"data.window={window}: expected 1 (single scans) or more scans to merge")
        self.root = root
        self.protocol = protocol
        self.sequences = choose_sequences(protocol, sequences or {})
        self.window = window
        if window > 1:
            self.features = (*self.features, AGE)
        self._files: dict[str, ScanFiles] = {}
        self._tracks: dict[str, Track] = {}

    def scans(self, split: str) -> Sequence[str]:
        """List scans as `08/000004`, after checking the size of each file. Scans of train and val need labels.

        Raises:
            UserError: A sequence or a label is missing, or a file has an impossible size; or there are fewer poses than
                scans to merge.
        """
        return self._list(split, check=True)

    def unchecked(self, split: str) -> Sequence[str]:
        """List scans without a look at sizes and missing labels.

        Raises:
            UserError: A sequence is missing or has no scans.
        """
        return self._list(split, check=False)

    def _list(self, split: str, check: bool) -> Sequence[str]:
        names = tuple(find_sequences(self.root)) if split == "all" else self.sequences[split]
        key = f"data.sequences.{split}"
        if not names:
            raise UserError(f"{key}: no sequences to load; list them, as {key}=[08]")
        labels = split in ("train", "val")
        found = {f.scan_id: f for f in list_scans(self.root, names, key, require_labels=labels, check=check)}
        self._files |= found
        if self.window > 1:
            self._tracks |= tracks(found.values())
        return list(found)

    def read(self, scan_id: str) -> Scan:
        """Read a scan listed by `scans`; the scans before it in the window are its context."""
        files = self._files[scan_id]
        if self.window == 1:
            return _read(files)
        earlier = self._tracks[scan_id.split("/")[0]].before(files, self.window - 1)
        return with_context(_read(files), [(_read(place.files), place) for place in earlier])

    def has_split(self, split: str) -> bool:
        """Return whether sequences are listed for a split."""
        return split == "all" or bool(self.sequences[split])

    def prediction_name(self, scan_id: str) -> str:
        """Return the benchmark's path: `11/000000` gives `sequences/11/predictions/000000.label`."""
        sequence, frame = scan_id.split("/")
        return f"sequences/{sequence}/predictions/{frame}.label"

    def instance_scope(self, scan_id: str) -> str:
        """Return the sequence: a thing has one number in all its scans."""
        return scan_id.split("/")[0]

    def source(self, scan_id: str, what: str = "points") -> str:
        """Return the path of the `.bin` or the `.label` file."""
        files = self._files[scan_id]
        return str(files.label if what == "labels" else files.scan)


def _read(files: ScanFiles) -> Scan:
    points = read_scan(files.scan)
    return Scan(points, None if files.label is None else read_labels(files.label, len(points)))
