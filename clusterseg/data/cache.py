"""Cache folder for files derived from a data set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cache:
    """A cache folder for files derived from a data set.

    Attributes:
        folder: The folder; None for `.clusterseg` under the root, or the user's cache folder if that is not writable.
        root: The folder of the data; None if it has none.
    """

    folder: str | os.PathLike[str] | None = None
    root: str | os.PathLike[str] | None = None

    def path(self, name: str) -> Path:
        """Return the path of the file of that name, existing or not."""
        if self.folder is not None:
            return Path(self.folder).expanduser() / name
        if self.root is not None:
            beside = Path(self.root).expanduser() / ".clusterseg"
            if (beside / name).is_file() or _writable(beside):
                return beside / name
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clusterseg" / name


def _writable(folder: Path) -> bool:
    """Whether files can be written into the folder; it is created if needed."""
    return os.access(folder if folder.exists() else folder.parent, os.W_OK | os.X_OK)
