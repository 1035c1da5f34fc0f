from __future__ import annotations

import pytest

from clusterseg.data.augment import partners
from clusterseg.data.sampler import EvalSampler, TrainSampler


def indices(sampler: TrainSampler | EvalSampler) -> list[int]:
    return [key[1] for key in sampler]


@pytest.mark.parametrize("num_samples, world_size", [(10, 1), (10, 2), (10, 3), (1, 4), (7, 8)])
def test_training_ranks_get_equal_numbers_and_cover_all(num_samples: int, world_size: int) -> None:
    ranks = [TrainSampler(num_samples, rank=r, world_size=world_size, seed=3) for r in range(world_size)]
    dealt = [indices(sampler) for sampler in ranks]
    assert {len(d) for d in dealt} == {len(s) for s in ranks} == {-(-num_samples // world_size)}
    every = [index for d in dealt for index in d]
    counts = [every.count(index) for index in range(num_samples)]
    assert max(counts) - min(counts) <= 1 and min(counts) >= 1


def test_training_order_follows_seed_and_epoch() -> None:
    sampler = TrainSampler(50, seed=1)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert {e for e, _, _ in sampler} == {epoch}
        epochs.append(indices(sampler))
    assert sorted(epochs[0]) == list(range(50))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0] != list(range(50))
    assert epochs[2] == indices(TrainSampler(50, seed=1, epoch=2))
    assert epochs[0] != indices(TrainSampler(50, seed=2))


def test_one_order_for_all_ranks() -> None:
    whole = indices(TrainSampler(12, seed=1, epoch=4))
    for rank in range(3):
        assert indices(TrainSampler(12, seed=1, epoch=4, rank=rank, world_size=3)) == whole[rank::3]


@pytest.mark.parametrize("world_size, batch_size", [(2, 3), (3, 2), (6, 1)])
@pytest.mark.parametrize("start", [0, 6])
def test_the_batches_of_the_ranks_are_the_batch_of_one_process(world_size: int, batch_size: int, start: int) -> None:
    place = {"seed": 1, "epoch": 2, "start": start}
    alone = indices(TrainSampler(24, **place))
    sizes = {"world_size": world_size, "batch_size": batch_size}
    dealt = [indices(TrainSampler(24, rank=rank, **sizes, **place)) for rank in range(world_size)]
    for step in range(len(dealt[0]) // batch_size):
        joint = [index for mine in dealt for index in mine[step * batch_size : (step + 1) * batch_size]]
        assert joint == alone[step * 6 : (step + 1) * 6]


def test_a_last_step_may_be_smaller_on_all_ranks() -> None:
    ranks = [indices(TrainSampler(15, seed=1, rank=rank, world_size=2, batch_size=3)) for rank in range(2)]
    whole = indices(TrainSampler(15, seed=1))
    assert [mine[6:] for mine in ranks] == [whole[12:14], [whole[14], whole[0]]]


def test_start_skips_in_its_own_epoch_only() -> None:
    whole = TrainSampler(20, seed=1)
    resumed = TrainSampler(20, seed=1, epoch=3, start=6)
    whole.set_epoch(3)
    resumed.set_epoch(3)
    assert list(resumed) == list(whole)[6:]
    assert list(resumed) == list(whole)[6:]
    assert len(resumed) == 20 and resumed.start == 6
    whole.set_epoch(4)
    resumed.set_epoch(4)
    assert list(resumed) == list(whole) and resumed.start == 0


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("start", [0, 2])
def test_the_second_scan_belongs_to_the_scan(world_size: int, start: int) -> None:
    expected = partners(1, 4, 7)
    for rank in range(world_size):
        for epoch, index, second in TrainSampler(7, seed=1, epoch=4, rank=rank, world_size=world_size, start=start):
            assert (epoch, second) == (4, expected[index])


@pytest.mark.parametrize("num_samples, world_size", [(10, 1), (10, 3), (2, 4)])
def test_evaluation_has_no_duplicates(num_samples: int, world_size: int) -> None:
    ranks = [EvalSampler(num_samples, rank=r, world_size=world_size) for r in range(world_size)]
    assert sorted(i for s in ranks for i in indices(s)) == list(range(num_samples))
    assert [len(s) for s in ranks] == [len(indices(s)) for s in ranks]
    assert list(ranks[0])[:1] == [(0, 0)]


@pytest.mark.parametrize("ranks", [(1, 2), (2, 1), (2, 3), (3, 3), (4, 1)])
@pytest.mark.parametrize("each", [1, 2])
def test_another_number_of_ranks_goes_on_in_the_order_of_scans(ranks: tuple[int, int], each: int) -> None:
    """Every scan of the epoch once, but for those that fill up the last step of the ranks."""
    before = [TrainSampler(13, seed=1, epoch=2, rank=r, world_size=ranks[0]) for r in range(ranks[0])]
    had = [index for sampler in before for index in indices(sampler)[:each]]
    after = [TrainSampler(13, seed=1, epoch=2, start=len(had), rank=r, world_size=ranks[1]) for r in range(ranks[1])]
    dealt = [indices(sampler) for sampler in after]
    assert {len(mine) for mine in dealt} == {sampler.left for sampler in after}
    every = had + [index for mine in dealt for index in mine]
    assert set(every) == set(range(13))
    assert len(every) - 13 == -(13 - len(had)) % ranks[1]
