"""How a run ended: `outcome.json` in its folder. Without the file the run is still going or was killed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from clusterseg.files import write_file

FILE = "outcome.json"


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: `finished` as planned, `stopped` early, `pruned` by a sweep, or `failed`.
        message: Details in words.
    """

    state: str
    message: str = ""

    def write(self, folder: Path) -> None:
        """Write the outcome into the run folder.

        Raises:
            UserError: The file cannot be written.
        """
        write_file(folder / FILE, json.dumps(asdict(self), indent=2) + "\n")


def read_outcome(folder: Path) -> Outcome | None:
    """Read how the run in `folder` ended; None if there is no readable outcome."""
    try:
        content = json.loads((folder / FILE).read_text())
        return Outcome(str(content["state"]), str(content["message"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_outcome(folder: Path) -> None:
    """Remove the outcome of an earlier run in the same folder."""
    (folder / FILE).unlink(missing_ok=True)
