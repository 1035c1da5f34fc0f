"""All findings about a data set, and their record as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

from clusterseg.doctor import checks, whole
from clusterseg.doctor.finding import Finding, Severity, count, ordered
from clusterseg.doctor.suggestion import Suggestion
from clusterseg.doctor.survey import Survey


def diagnose(survey: Survey) -> list[Finding]:
    """Run every check; faults come first."""
    return ordered([finding for check in (*checks.CHECKS, *whole.CHECKS) for finding in check(survey)])


def record(survey: Survey, findings: list[Finding], suggestion: Suggestion) -> dict[str, Any]:
    """Return everything as plain values, for `check.json`."""
    return {
        "faults": count(findings, Severity.FAULT),
        "warnings": count(findings, Severity.WARNING),
        "settings": {
            "voxel_size": survey.voxel_size,
            "max_voxels": survey.max_voxels,
            "label_map": survey.label_map,
            "features": list(survey.features),
        },
        "splits": {split: split_figures(survey, split) for split in survey.splits},
        "classes": class_table(survey),
        "suggested": {"voxel_size": suggestion.voxel_size, "max_voxels": suggestion.max_voxels},
        "cap": {"scans": suggestion.capped, "voxels": suggestion.lost},
        "points_per_voxel": {str(edge): round(value, 3) for edge, value in suggestion.points_per_voxel.items()},
        "findings": [finding.plain() for finding in findings],
    }


def split_figures(survey: Survey, split: str) -> dict[str, Any]:
    """Return the scans of a split, and the spread of their points, voxels, reach and remission."""
    read = survey.splits[split]
    lit = [facts.remission for facts in read if facts.remission is not None]
    return {
        "scans": sum(facts.split == split for facts in survey.facts),
        "unreadable": sum(facts.split == split and facts.error is not None for facts in survey.facts),
        "labelled": sum(facts.labelled for facts in read),
        "points": spread([facts.points for facts in read]),
        "voxels": spread([facts.voxels for facts in read if facts.voxels is not None]),
        "reach": spread([facts.reach for facts in read]),
        "remission": [min(v[0] for v in lit), float(np.median([v[2] for v in lit])), max(v[4] for v in lit)]
        if lit
        else None,
    }


def spread(values: list[int] | list[float]) -> list[float] | None:
    """Return minimum, median and maximum; None without values."""
    return [float(value) for value in np.percentile(values, [0, 50, 100])] if values else None


def class_table(survey: Survey) -> dict[str, dict[str, int]]:
    """Return the points of each class and of ignored points, by split."""
    points = {split: whole.class_points(survey, split) for split in survey.splits}
    names = [*survey.class_names, "ignored"]
    return {name: {split: int(values[row]) for split, values in points.items()} for row, name in enumerate(names)}
