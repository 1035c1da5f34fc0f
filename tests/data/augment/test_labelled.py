from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_scans import NAMES, assert_same, made_scan, untouched

from clusterseg.data.augment.classes import belongs, train_ids
from clusterseg.data.augment.labelled import LabelledScan, join
from clusterseg.errors import UserError

SCAN = made_scan(3)


def test_where_keeps_the_order_and_all_that_belongs_to_a_point() -> None:
    mask = np.random.default_rng(0).random(len(SCAN)) < 0.3
    before = untouched(SCAN)
    chosen = SCAN.where(mask)
    assert len(chosen) == mask.sum()
    assert_same(chosen, LabelledScan(SCAN.points[mask], SCAN.targets[mask], SCAN.instances[mask]))
    assert_same(SCAN, before)


def test_joined_instances_stay_apart() -> None:
    third = SCAN.where(SCAN.instances > 3)
    nothing = SCAN.where(np.zeros(len(SCAN), bool))
    joined = join([SCAN, nothing, third, SCAN])
    assert len(joined) == 2 * len(SCAN) + len(third)
    pairs = set()
    for piece, part in enumerate(np.split(np.arange(len(joined)), [len(SCAN), len(SCAN) + len(third)])):
        source = (SCAN, third, SCAN)[piece]
        np.testing.assert_array_equal(joined.targets[part], source.targets)
        for new, old in zip(joined.instances[part].tolist(), source.instances.tolist(), strict=True):
            assert (new == 0) == (old == 0)
            pairs |= {(new, (piece, old))} if old else set()
    assert len(pairs) == len({new for new, _ in pairs}) == len({old for _, old in pairs})


def test_scans_of_different_channels_do_not_mix() -> None:
    four = SCAN.with_points(SCAN.points[:, :4])
    with pytest.raises(UserError, match=r"got scans of \[5, 4\] channels"):
        join([SCAN, four])


def test_classes_are_found_by_name() -> None:
    ids = train_ids(["person", "road"], NAMES, "some.key")
    assert ids.tolist() == [5, 8]
    expected = [target in (5, 8) for target in SCAN.targets.tolist()]
    assert belongs(SCAN.targets, ids).tolist() == expected


def test_an_unknown_class() -> None:
    with pytest.raises(UserError, match=r"some\.key: got cat, dog; expected names among .*traffic-sign"):
        train_ids(["cat", "road", "dog"], NAMES, "some.key")
    with pytest.raises(UserError, match="not bound to a label map"):
        train_ids(["road"], (), "some.key")


def test_subjects_stay_as_they_are_and_are_none_where_unknown() -> None:
    known = replace(SCAN, subjects=np.arange(len(SCAN)) << 8)
    joined = join([known, SCAN, known.where(SCAN.instances > 3)])
    expected = [*known.subjects, *[0] * len(SCAN), *known.subjects[SCAN.instances > 3]]
    assert joined.subjects is not None
    assert joined.subjects.tolist() == expected
    assert known.with_points(SCAN.points + 1).subjects is known.subjects
    assert join([SCAN, SCAN]).subjects is None
