"""The checks of a data set as a whole: scans that occur twice or are missing, and classes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Int64

from clusterseg.doctor.checks import LEARNING
from clusterseg.doctor.facts import ScanFacts
from clusterseg.doctor.finding import Finding, Severity
from clusterseg.doctor.survey import Survey

HANDFUL = 100  # points of a class in a split: too few to learn from or to score
_SHOWN = 5
_IGNORED = 0.9  # share of ignored points that hints at another label map


def twice(survey: Survey) -> Iterator[Finding]:
    """Equal scans: within a split, or, which voids a validation, in the training and another split."""
    groups: dict[bytes, list[ScanFacts]] = defaultdict(list)
    for facts in survey.read:
        groups[facts.digest].append(facts)
    same = [group for group in groups.values() if len(group) > 1]
    leaks = [group for group in same if "train" in (splits := {f.split for f in group}) and len(splits - {"all"}) > 1]
    if leaks:
        files = tuple(f.source for group in leaks for f in group)
        got = (
            f"scans to train on that are also in another split: {len(leaks):,}, such as {files[0]}, equal to {files[1]}"
        )
        remedy = "take them out of one of the splits: scores on them say nothing"
        yield Finding("leak", Severity.FAULT, files, got, "different scans in each split", remedy)
    within = [group for group in (_within_split(group) for group in same) if group]
    if within:
        files = tuple(f.source for group in within for f in group)
        got = f"scans that occur more than once: {len(within):,}, such as {files[0]}, equal to {files[1]}"
        yield Finding("duplicate", Severity.WARNING, files, got, "different scans", "remove the copies")


def _within_split(group: list[ScanFacts]) -> list[ScanFacts]:
    """Return the scans of a group that share their split with another one."""
    return [facts for facts in group if sum(other.split == facts.split for other in group) > 1]


def gaps(survey: Survey) -> Iterator[Finding]:
    """Numbers that are missing between the scans of a sequence.

    A scan's id is a sequence and a number at its end. Numbers without a regular step, such as times, have no gaps.
    """
    sequences: dict[tuple[str, str], list[int]] = defaultdict(list)
    for facts in survey.facts:
        found = re.fullmatch(r"(.*?)(\d+)", facts.scan_id)
        if found:
            sequences[facts.split, found[1]].append(int(found[2]))
    missing = {f"{prefix}{first}..{last}": n for (_, prefix), v in sequences.items() for first, last, n in _holes(v)}
    if missing:
        shown = ", ".join(list(missing)[:_SHOWN])
        got = f"numbers that are missing between scans: {sum(missing.values()):,}, between {shown}"
        remedy = "download them, if several scans are used at once; single scans do not need them"
        yield Finding("gap", Severity.WARNING, tuple(missing), got, "consecutive numbers", remedy)


def _holes(numbers: list[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the number before, the number after, and the size of each gap."""
    values = sorted(set(numbers))
    steps = [after - before for before, after in pairwise(values)]
    if len(steps) < 2:
        return
    usual = max(set(steps), key=steps.count)
    if steps.count(usual) <= len(steps) / 2:
        return
    for before, step in zip(values[:-1], steps, strict=True):
        if step > usual:
            yield before, before + step, step // usual - 1


def class_points(survey: Survey, split: str) -> Int64[np.ndarray, " classes_and_ignored"]:
    """Points of each class, then of ignored ones, of a split."""
    total = np.zeros(len(survey.class_names) + 1, np.int64)
    for facts in survey.splits.get(split, []):
        total += facts.classes
    return total


def lacking(survey: Survey) -> Iterator[Finding]:
    """Classes that one of training and validation lacks."""
    if not all(survey.splits.get(split) for split in LEARNING):
        return
    train, val = (class_points(survey, split)[:-1] for split in LEARNING)
    if not train.any() or not val.any():
        return
    for got, expected, rows, remedy in (
        (
            "validation",
            "points of every class that is trained",
            (train > 0) & (val == 0),
            "they cannot be scored",
        ),
        ("training", "points of every class that is scored", (train == 0) & (val > 0), "they cannot be learned"),
    ):
        if rows.any():
            names = _names(survey, rows)
            advice = f"choose the scans of the splits anew, or merge or ignore these classes ({remedy})"
            yield Finding("class lacking", Severity.WARNING, (), f"the {got} has no {names}", expected, advice)
    neither = (train == 0) & (val == 0)
    if neither.any():
        got = f"no scan has {_names(survey, neither)}"
        remedy = "remove these classes from the label map, unless you mean to score on other scans"
        yield Finding("class unused", Severity.NOTE, (), got, "points of every class", remedy)


def handful(survey: Survey) -> Iterator[Finding]:
    """Classes with a handful of points."""
    for split in LEARNING:
        points = class_points(survey, split)[:-1]
        rows = (points > 0) & (points < HANDFUL)
        if rows.any():
            counts = ", ".join(f"{survey.class_names[i]} ({points[i]})" for i in np.flatnonzero(rows))
            remedy = "add scans with them, or merge or ignore these classes in the label map"
            got = f"a handful of points in {split}: {counts}"
            yield Finding("class rare", Severity.WARNING, (), got, f"{HANDFUL} points of a class or more", remedy)


def ignored(survey: Survey) -> Iterator[Finding]:
    """Splits of which nearly all points are ignored."""
    for split in LEARNING:
        points = class_points(survey, split)
        share = points[-1] / max(points.sum(), 1)
        if share > _IGNORED:
            got = f"{100 * share:.0f} % of the labelled points in {split} are ignored"
            remedy = f"look whether data.label_map={survey.label_map} is the one of these labels"
            yield Finding("mostly ignored", Severity.WARNING, (), got, "mostly points of a class", remedy)


CHECKS: tuple[Callable[[Survey], Iterator[Finding]], ...] = (twice, gaps, lacking, handful, ignored)


def _names(survey: Survey, rows: np.ndarray) -> str:
    return ", ".join(survey.class_names[i] for i in np.flatnonzero(rows))
