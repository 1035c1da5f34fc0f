"""Reader of SemanticKITTI's layout: sequences of `.bin` scans and `.label` files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

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

    Raises:
        UserError: The protocol or a list is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        protocol: str = "train",
        sequences: Mapping[str, Iterable[int | str] | int | None] | None = None,
    ) -> None:
        self.root = root
        self.protocol = protocol
        self.sequences = choose_sequences(protocol, sequences or {})
        self._files: dict[str, ScanFiles] = {}

    def scans(self, split: str) -> Sequence[str]:
        """List scans as `08/000004`, after checking the size of each file. Scans of train and val need labels.

        Raises:
            UserError: A sequence or a label is missing, or a file has an impossible size.
        """
        names = tuple(find_sequences(self.root)) if split == "all" else self.sequences[split]
        key = f"data.sequences.{split}"
        if not names:
            raise UserError(f"{key}: no sequences to load; list them, as {key}=[08]")
        listed = {f.scan_id: f for f in list_scans(self.root, names, key, require_labels=split in ("train", "val"))}
        self._files |= listed
        return list(listed)

    def read(self, scan_id: str) -> Scan:
        """Read a scan listed by `scans`."""
        files = self._files[scan_id]
        points = read_scan(files.scan)
        return Scan(points, None if files.label is None else read_labels(files.label, len(points)))

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
