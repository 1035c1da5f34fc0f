from __future__ import annotations

import numpy as np
import pytest

from clusterseg.data.augment.partners import partners


@pytest.mark.parametrize("num_scans", [2, 3, 10, 1000])
def test_each_scan_is_the_second_of_exactly_one_other(num_scans: int) -> None:
    for epoch in range(5):
        second = partners(3, epoch, num_scans)
        assert sorted(second) == list(range(num_scans))
        assert (second != np.arange(num_scans)).all()


def test_a_single_scan_is_its_own() -> None:
    assert partners(0, 0, 1).tolist() == [0]
    assert partners(0, 0, 0).tolist() == []


def test_decided_by_seed_and_epoch() -> None:
    np.testing.assert_array_equal(partners(1, 2, 50), partners(1, 2, 50))
    assert len({tuple(partners(seed, epoch, 50)) for seed in range(3) for epoch in range(3)}) == 9


def test_any_other_scan_is_as_likely() -> None:
    counts = np.zeros((5, 5))
    for epoch in range(2000):
        counts[np.arange(5), partners(0, epoch, 5)] += 1
    np.testing.assert_allclose(counts / 2000, (1 - np.eye(5)) / 4, atol=0.04)


def test_has_a_stream_of_its_own() -> None:
    """Neither the sampler's, of [seed, epoch], nor a sample's, of [seed, epoch, index]."""
    second = partners(1, 2, 500)
    for stream in ([1, 2], [1, 2, 0], [1, 2, 1]):
        ring = np.random.default_rng(stream).permutation(500)
        assert (second[ring] == np.roll(ring, -1)).mean() < 0.05
