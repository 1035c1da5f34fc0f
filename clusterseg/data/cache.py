"""Where files are kept that can be made again from the data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cache:
    """A folder for what is made from a data set once.

    Attributes:
        folder: The folder; None for `.clusterseg` under the root, or where that cannot be written, the user's own
            cache folder.
        root: The folder of the data; None where it has none.
    """

    folder: str | os.PathLike[str] | None = None
    root: str | os.PathLike[str] | None = None

    def path(self, name: str) -> Path:
        """Return where the file of that name is, or is to be written."""
        if self.folder is not None:
            return Path(self.folder).expanduser() / name
        if self.root is not None:
            beside = Path(self.root).expanduser() / ".clusterseg"
            if (beside / name).is_file() or _writable(beside):
                return beside / name
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clusterseg" / name


def _writable(folder: Path) -> bool:
    """Say whether files can be written into the folder, which may have to be made."""
    return os.access(folder if folder.exists() else folder.parent, os.W_OK | os.X_OK)
