"""How a run ended: ``outcome.json`` in its folder. Without it the run is still going, or was killed."""

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
        state: ``finished`` as planned, ``stopped`` before, ``pruned`` by a sweep, or ``failed``.
        message: What there is to know about it.
    """

    state: str
    message: str = ""

    def write(self, folder: Path) -> None:
        """Keep it in the run's folder.

        Raises:
            UserError: The file cannot be written.
        """
        write_file(folder / FILE, json.dumps(asdict(self), indent=2) + "\n")


def read_outcome(folder: Path) -> Outcome | None:
    """How the run in ``folder`` ended, or None where nothing tells."""
    try:
        content = json.loads((folder / FILE).read_text())
        return Outcome(str(content["state"]), str(content["message"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_outcome(folder: Path) -> None:
    """Remove what an earlier run in the same folder told."""
    (folder / FILE).unlink(missing_ok=True)
