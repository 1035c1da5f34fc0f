"""The checks of single scans: each is a pure function from the figures of a data set to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from clusterseg.data.voxelize import MAX_VOXELS_PER_AXIS
from clusterseg.doctor.facts import ScanFacts
from clusterseg.doctor.finding import Finding, Severity
from clusterseg.doctor.survey import Survey

FAULT, WARNING, NOTE = Severity.FAULT, Severity.WARNING, Severity.NOTE
LEARNING = ("train", "val")  # splits whose scans need labels
_BRIGHT = 1.5  # remission above this is on another scale than 0..1
_DARK = 0.02  # if 99 % of the values are lower, the scale is hardly 0..1
_FEW = 0.1  # of the median number of points
_SHOWN = 10  # label ids
_FAR = 10  # times the median reach


def unlisted(survey: Survey) -> Iterator[Finding]:
    """Splits whose scans cannot be listed."""
    for split, reason in survey.unlisted.items():
        yield Finding("unlisted", FAULT, (split,), reason, f"scans of the split {split}", "correct the setting")


def unreadable(survey: Survey) -> Iterator[Finding]:
    """Scans that cannot be read: missing, cut short, empty, or of arrays that do not fit together."""
    for facts in survey.facts:
        if facts.error is not None:
            remedy = "mend the file, or leave the scan out"
            yield Finding("unreadable", FAULT, (facts.source,), facts.error, "points and labels of one scan", remedy)


def no_labels(survey: Survey) -> Iterator[Finding]:
    """Scans to train or validate on that have no labels."""
    found = [f for f in survey.read if f.split in LEARNING and not f.labelled]
    if found:
        got = f"no labels for {_scans(found)} to train or validate on"
        yield _about("no labels", FAULT, found, got, "labels of each", "add the labels, or leave these scans out")


def unknown_labels(survey: Survey) -> Iterator[Finding]:
    """Label ids that the label map lacks."""
    found = [facts for facts in survey.read if facts.unknown]
    if found:
        ids = sorted({raw for facts in found for raw in facts.unknown})
        listed = ", ".join(map(str, ids[:_SHOWN])) + (", ..." if len(ids) > _SHOWN else "")
        points = sum(sum(facts.unknown.values()) for facts in found)
        got = f"label ids {listed} at {points:,} points of {_scans(found)}"
        expected = f"ids of data.label_map={survey.label_map}"
        remedy = "add the ids to the label map (under a class, or as ignored), or correct the labels"
        yield _about("unknown label", FAULT, found, got, expected, remedy)


def unlabelled(survey: Survey) -> Iterator[Finding]:
    """Labelled scans of which each point is ignored."""
    found = [
        f for f in survey.read if f.split in LEARNING and f.labelled and not f.unknown and not f.classes[:-1].any()
    ]
    if found:
        got = f"every point of {_scans(found)} is ignored"
        remedy = "leave these scans out: nothing is learned from them, nor scored on them"
        yield _about("nothing labelled", WARNING, found, got, "some points of a class", remedy)


def misplaced(survey: Survey) -> Iterator[Finding]:
    """Positions that are NaN or infinite; a scan of nothing else breaks a training."""
    broken = [f for f in survey.read if f.misplaced == f.points]
    if broken:
        got = f"no point of {_scans(broken)} has a finite position"
        yield _about("not finite", FAULT, broken, got, "finite x, y, z", "remove these scans, or write them again")
    some = [f for f in survey.read if 0 < f.misplaced < f.points]
    if some and not survey.no_return:
        worst = max(some, key=lambda facts: facts.misplaced / facts.points)
        share = f"{worst.misplaced:,} of {worst.points:,} points of {worst.source}"
        got = f"positions are NaN or infinite in {_scans(some)}, at most {share}"
        remedy = "drop these points in the reader; a training gives them no voxel"
        yield _about("not finite", WARNING, some, got, "finite x, y, z", remedy)


def invalid(survey: Survey) -> Iterator[Finding]:
    """Other values that are NaN or infinite."""
    found = [facts for facts in survey.read if facts.invalid]
    if found:
        most = max(facts.invalid for facts in found)
        names = ", ".join(survey.features[3:])
        got = f"values of {names} are NaN or infinite in {_scans(found)}, at most at {most:,} points of a scan"
        remedy = "set them in the reader; a training takes the median of the scan instead"
        yield _about("not finite values", WARNING, found, got, "finite values", remedy)


def at_origin(survey: Survey) -> Iterator[Finding]:
    """Beams without a return that were written as points at the sensor's place."""
    found = [facts for facts in survey.read if facts.at_origin > 0.01 * facts.points]
    if found:
        most = max(facts.at_origin / facts.points for facts in found)
        got = f"up to {100 * most:.0f} % of the points of {_scans(found)} are at (0, 0, 0)"
        yield _about("no return", WARNING, found, got, "points that were hit", "drop points at (0, 0, 0) in the reader")


def outside_grid(survey: Survey) -> Iterator[Finding]:
    """Scans too large for the voxel grid."""
    found = [f for f in survey.read if f.voxels is None and f.misplaced < f.points]
    if found:
        largest = max(max(facts.size) for facts in found)
        limit = MAX_VOXELS_PER_AXIS * survey.voxel_size
        remedy = "remove stray points in the reader, convert to metres, or raise data.voxel_size"
        got = f"an extent of up to {largest:,.0f} m in {_scans(found)}"
        yield _about(
            "extent", FAULT, found, got, f"less than {limit:,.0f} m at voxels of {survey.voxel_size} m", remedy
        )


def reach(survey: Survey) -> Iterator[Finding]:
    """Scans that reach much less or farther than the others, as in other units."""
    placed = [facts for facts in survey.read if facts.voxels is not None]
    if not placed:
        return
    usual = float(np.median([facts.reach for facts in placed]))
    odd = [facts for facts in placed if not usual / _FAR <= facts.reach <= usual * _FAR]
    if odd:
        got = f"a reach of {min(f.reach for f in odd):.3g} to {max(f.reach for f in odd):.3g} m in {_scans(odd)}"
        expected = f"about {usual:.3g} m (99 % of the points), as the others"
        yield _about("reach", WARNING, odd, got, expected, "convert them to metres, or leave them out")
    if not 1 <= usual <= 1000:
        got = f"99 % of the points lie within {usual:.3g} of the origin"
        remedy = "convert x, y, z to metres in the sensor's frame"
        yield Finding("units", WARNING, (), got, "1 to 1000 m around the sensor", remedy)


def resolution(survey: Survey) -> Iterator[Finding]:
    """Coordinates so far from 0 that float32 cannot resolve a voxel."""
    found = [facts for facts in survey.read if facts.step > survey.voxel_size / 4]
    if found:
        got = f"coordinates in steps of up to {max(f.step for f in found):.2g} m (float32) in {_scans(found)}"
        remedy = "subtract the sensor's place in the reader before the conversion to float32"
        expected = f"finer than a quarter of a voxel of {survey.voxel_size} m"
        yield _about("resolution", FAULT, found, got, expected, remedy)


def remission(survey: Survey) -> Iterator[Finding]:
    """Remission on another scale than 0..1, negative, or without any variation."""
    lit = [(facts, facts.remission) for facts in survey.read if facts.remission is not None]
    bright = [facts for facts, values in lit if values[3] > _BRIGHT]
    if bright:
        top = max(values[3] for _, values in lit)
        got = f"remission up to {top:.4g} (99 % of the values) in {_scans(bright)}"
        yield _about("remission", FAULT, bright, got, "0..1", "divide it by its full scale (255, 65535) in the reader")
    stray = [(f, v) for f, v in lit if v[3] <= _BRIGHT and (v[4] > _BRIGHT or v[0] < -1e-3)]
    if stray:
        low, top = min(values[0] for _, values in stray), max(values[4] for _, values in stray)
        got = f"single values of remission within {low:.4g}..{top:.4g} in {len(stray):,} scans"
        yield _about("remission values", WARNING, [facts for facts, _ in stray], got, "0..1", "clip them in the reader")
    flat = [facts for facts, values in lit if values[0] == values[4] and facts.points > 1]
    if flat:
        got = f"one value of remission only in {_scans(flat)}"
        remedy = "write the sensor's remission, or leave it out of the reader's features"
        yield _about("constant remission", WARNING, flat, got, "values in 0..1", remedy)
    if lit and not bright and 0 < max(values[3] for _, values in lit) < _DARK:
        got = f"99 % of the values of remission are below {max(values[3] for _, values in lit):.2g}"
        yield Finding("dark remission", WARNING, (), got, "0..1", "divide it by its full scale in the reader")


def few_points(survey: Survey) -> Iterator[Finding]:
    """Scans with far fewer points than the others, as when a turn was cut."""
    if not survey.read:
        return
    usual = float(np.median([facts.points for facts in survey.read]))
    found = [facts for facts in survey.read if facts.points < _FEW * usual]
    if found:
        got = f"as few as {min(facts.points for facts in found):,} points in {_scans(found)}"
        expected = f"about {usual:,.0f} points, as the others"
        yield _about("few points", WARNING, found, got, expected, "write them again, or leave them out")


CHECKS: tuple[Callable[[Survey], Iterator[Finding]], ...] = (
    unlisted,
    unreadable,
    no_labels,
    unknown_labels,
    unlabelled,
    misplaced,
    invalid,
    at_origin,
    outside_grid,
    reach,
    resolution,
    remission,
    few_points,
)


def _scans(found: Sequence[ScanFacts]) -> str:
    return f"{len(found):,} scan{'s' if len(found) > 1 else ''}"


def _about(check: str, severity: Severity, found: Sequence[ScanFacts], got: str, expected: str, remedy: str) -> Finding:
    return Finding(check, severity, tuple(facts.source for facts in found), got, expected, remedy)
