"""Batches within a budget of voxels: bounded, whole, equal on all ranks, and resumed exactly."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import scan as tiny_scan
from tiny import write_control
from tiny_run import configure

from clusterseg.commands.train import train
from clusterseg.data.augment import LaserMix, Mix3D
from clusterseg.data.augment.partners import partners
from clusterseg.data.batch import Batch
from clusterseg.data.budget import OPEN, BudgetSampler, pack
from clusterseg.data.cache import Cache
from clusterseg.data.datamodule import SemanticKittiDataModule
from clusterseg.data.reader import Scan
from clusterseg.data.voxel_counts import ensure_counts, expected_sizes
from clusterseg.errors import UserError
from clusterseg.runs.checkpoint import read_checkpoint


def sizes_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(50, 400, count)


def slow_pack(sizes: np.ndarray, order: list[int], budget: int) -> list[list[int]]:
    """The rule, with a search through all open batches in a plain loop."""
    done, filling = [], []
    for index in order:
        best = None
        for batch in filling:
            load = sum(sizes[i] for i in batch)
            if load + sizes[index] <= budget and (best is None or load > sum(sizes[i] for i in best)):
                best = batch
        if best is None:
            if len(filling) == OPEN:
                fullest = filling[0]
                for batch in filling[1:]:
                    if sum(sizes[i] for i in batch) > sum(sizes[i] for i in fullest):
                        fullest = batch
                filling.remove(fullest)
                done.append(fullest)
            filling.append([index])
        else:
            best.append(index)
    return done + filling


@pytest.mark.parametrize("budget", [400, 1000, 5000])
def test_packing_is_that_of_a_loop_and_wastes_little(budget: int) -> None:
    for seed in range(5):
        sizes = sizes_of(120, seed)
        order = np.random.default_rng(seed).permutation(120).tolist()
        batches = pack(sizes, order, budget)
        assert batches == slow_pack(sizes, order, budget)
        assert sorted(index for batch in batches for index in batch) == list(range(120))
        assert max(sizes[batch].sum() for batch in batches) <= budget
    assert len(batches) <= 1.35 * sizes.sum() / budget + 1


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_epoch_has_each_scan_once_in_as_many_batches_of_each_rank(ranks: int) -> None:
    sizes, budget = sizes_of(97), 1200
    samplers = [BudgetSampler(sizes, budget, seed=4, rank=r, world_size=ranks) for r in range(ranks)]
    orders = []
    for epoch in range(25):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        dealt = [list(sampler) for sampler in samplers]
        assert {len(batches) for batches in dealt} == {len(sampler) for sampler in samplers} == {samplers[0].steps}
        keys = [key for batches in dealt for batch in batches for key in batch]
        assert Counter(index for _, index, _, _ in keys) == Counter(range(97))
        second = partners(4, epoch, 97)
        assert all(key[0] == epoch and key[2] == second[key[1]] for key in keys)
        for batch in (batch for batches in dealt for batch in batches):
            assert sum(cap for *_, cap in batch) <= budget
            assert all(cap >= sizes[index] for _, index, _, cap in batch), "a scan that is as expected is not cut"
        orders.append([[key[1] for key in batch] for batch in dealt[0]])
    assert len({str(order) for order in orders}) == 25
    assert samplers[0].steps * ranks <= 1.35 * sizes.sum() / budget + ranks


def test_batches_do_not_depend_on_the_rank_that_asks() -> None:
    whole = BudgetSampler(sizes_of(40), 1000, world_size=2).batches(3)
    for rank in range(2):
        sampler = BudgetSampler(sizes_of(40), 1000, rank=rank, world_size=2, epoch=3)
        assert [[key[1] for key in batch] for batch in sampler] == whole[rank::2]


def test_start_skips_in_its_own_epoch_only() -> None:
    whole, resumed = (BudgetSampler(sizes_of(60), 1000, seed=1, epoch=3, start=start) for start in (0, 4))
    assert list(resumed) == list(whole)[4:]
    assert len(resumed) == len(whole)
    for sampler in (whole, resumed):
        sampler.set_epoch(4)
    assert list(resumed) == list(whole)


def test_fewer_scans_than_ranks_and_scans_beyond_the_budget() -> None:
    few = [list(BudgetSampler(np.array([5, 7]), 10, rank=rank, world_size=3)) for rank in range(3)]
    assert {len(batches) for batches in few} == {1}
    assert {key[1] for batches in few for batch in batches for key in batch} == {0, 1}
    beyond = list(BudgetSampler(np.array([50, 7]), 10))
    assert sorted(batch[0][1:] for batch in beyond) == [(0, 1, 10), (1, 0, 10)]


def test_counts_are_those_of_a_set_and_read_from_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scans = [tiny_scan(rng, points=50 + 40 * number)[0] for number in range(4)]
    reads: list[int] = []

    def read(index: int) -> Scan:
        reads.append(index)
        return Scan(scans[index], None)

    cache, names = Cache(tmp_path), list("abcd")
    counts = ensure_counts(cache, names, read, 0.2)
    slow = [len({tuple(row) for row in np.rint(points[:, :3] / np.float32(0.2)).tolist()}) for points in scans]
    assert counts.tolist() == slow
    (file,) = tmp_path.iterdir()
    reads.clear()
    assert ensure_counts(cache, names, read, 0.2).tolist() == slow
    assert reads == [0, 3], "only those that tell data sets apart"
    file.write_bytes(file.read_bytes()[:50])
    assert ensure_counts(cache, names, read, 0.2).tolist() == slow
    assert ensure_counts(cache, names, read, 1.0).tolist() != slow
    assert len(list(tmp_path.iterdir())) == 2


def test_expected_sizes_of_mixes() -> None:
    counts = np.array([10, 20, 30])
    assert expected_sizes(counts, (), None).tolist() == [10, 20, 30]
    assert expected_sizes(counts, (), 15).tolist() == [10, 15, 15]
    assert expected_sizes(counts, (LaserMix(),), None).tolist() == [20, 20, 30]
    assert expected_sizes(counts, (Mix3D(),), 45).tolist() == [30, 40, 45]
    assert expected_sizes(counts, (Mix3D(probability=0.0),), None).tolist() == [10, 20, 30]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eleven scans of sizes from one to seven."""
    folder, rng = tmp_path / "data" / "00", np.random.default_rng(5)
    for part in ("velodyne", "labels"):
        (folder / part).mkdir(parents=True)
    for frame in range(11):
        points, labels = tiny_scan(rng, points=int(rng.integers(50, 350)))
        points.tofile(folder / "velodyne" / f"{frame:06d}.bin")
        labels.tofile(folder / "labels" / f"{frame:06d}.label")
    return tmp_path / "data"


def batches_of(root: Path, workers: int = 0, **settings: object) -> list[Batch]:
    given = {"voxel_size": 0.2, "seed": 3, "num_workers": workers, "batch_voxels": 2500, "sequences": {"train": [0]}}
    return list(SemanticKittiDataModule(root, **{**given, **settings}).train_dataloader())


def test_no_batch_exceeds_the_budget_even_where_mixing_adds(root: Path) -> None:
    plain = batches_of(root, max_voxels=None)
    assert sorted(name for batch in plain for name in batch.scan_ids) == [f"00/{i:06d}" for i in range(11)]
    counts = [len(batch.feats) for batch in plain]
    assert max(counts) <= 2500 and len({batch.num_scans for batch in plain}) > 1
    assert sum(counts) / len(counts) > 0.6 * 2500, "and it is used"
    mixed = batches_of(root, augmentation={"mix3d": Mix3D()})
    assert max(len(batch.feats) for batch in mixed) <= 2500
    assert len(mixed) > len(plain)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(root: Path, workers: int) -> None:
    for one, other in zip(batches_of(root), batches_of(root, workers), strict=True):
        assert one.scan_ids == other.scan_ids
        assert torch.equal(one.feats, other.feats)


def settings(tmp_path: Path, root: Path, *more: str) -> list[str]:
    return [
        f"data.root={root}",
        "data.sequences={train: [0], val: []}",
        "data.num_workers=0",
        "data.voxel_size=0.2",
        "data.batch_voxels=2500",
        f"model.backbone.control={write_control(tmp_path / 'net.config')}",
        "trainer=cpu",
        "trainer.max_epochs=2",
        "optim.scheduler._target_=clusterseg.optim.constant",
        "~optim.scheduler.warmup_fraction",
        *more,
    ]


def steps_of(root: Path) -> int:
    return len(batches_of(root))


def test_a_run_resumed_in_mid_epoch_is_the_whole_run(tmp_path: Path, root: Path) -> None:
    steps = steps_of(root)
    assert steps >= 4
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(configure("train", *settings(tmp_path, root)), whole)
    train(configure("train", *settings(tmp_path, root, f"trainer.max_steps={steps + 2}")), cut)
    assert read_checkpoint(cut / "checkpoints/last.ckpt")["global_step"] == steps + 2
    train(configure("train", *settings(tmp_path, root, "ckpt=last")), cut)
    one, other = (read_checkpoint(folder / "checkpoints/last.ckpt") for folder in (whole, cut))
    assert one["global_step"] == other["global_step"] == 2 * steps
    assert all(torch.equal(value, other["state_dict"][name]) for name, value in one["state_dict"].items())


@pytest.mark.parametrize("change", ["data.batch_voxels=5000", "data.batch_voxels=null"])
def test_another_division_within_an_epoch_is_refused(tmp_path: Path, root: Path, change: str) -> None:
    train(configure("train", *settings(tmp_path, root, "trainer.max_steps=2")), tmp_path / "run")
    with pytest.raises(UserError, match=r"data\.batch_voxels: .* within an epoch .*; resume with the same number"):
        train(configure("train", *settings(tmp_path, root, "ckpt=last", change)), tmp_path / "run")


@pytest.mark.slow
def test_two_ranks_take_as_many_steps(tmp_path: Path, root: Path) -> None:
    """Ranks of unequal steps would wait for each other forever."""
    ranks = ("trainer=ddp_cpu", "trainer.max_epochs=1", "logger=none")
    given = [*settings(tmp_path, root, *ranks), f"hydra.run.dir={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "clusterseg", "train", *given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    data = SemanticKittiDataModule(root, voxel_size=0.2, batch_voxels=2500, seed=1, sequences={"train": [0]})
    steps = data.batches_per_epoch(2)
    assert steps < data.batches_per_epoch(1)
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == steps
