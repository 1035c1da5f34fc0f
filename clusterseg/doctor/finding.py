"""What the doctor found: a finding says which check, how bad, which files, what was found and expected, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Severity(str, Enum):
    """How bad a finding is."""

    FAULT = "fault"  # would break or spoil a training
    WARNING = "warning"  # worth a look; a training runs
    NOTE = "note"  # good to know


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        check: Name of the check that made it.
        severity: How bad it is.
        files: The files or scans concerned, in order; empty if it concerns the whole data set.
        got: What was found.
        expected: What was expected.
        remedy: What to do.
    """

    check: str
    severity: Severity
    files: tuple[str, ...]
    got: str
    expected: str
    remedy: str

    def plain(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self) | {"severity": self.severity.value, "files": list(self.files)}

    def where(self, most: int = 1) -> str:
        """Name the first files and the number of the others."""
        named = ", ".join(self.files[:most])
        rest = len(self.files) - most
        return f"{named} and {rest:,} more" if rest > 0 else named


def count(findings: Iterable[Finding], severity: Severity) -> int:
    """Number of findings of a severity."""
    return sum(finding.severity is severity for finding in findings)


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings, faults first, then warnings, then notes; otherwise in the order of the checks."""
    ranks = list(Severity)
    return sorted(findings, key=lambda finding: ranks.index(finding.severity))
