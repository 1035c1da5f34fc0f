"""The learning-rate schedules, and how optimisers are built."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR

from clusterseg.errors import UserError
from clusterseg.optim import build_optimizer, cosine_factor, cosine_with_warmup, multi_step, one_cycle


def test_warm_up_is_linear_and_the_rest_half_a_cosine() -> None:
    factors = [cosine_factor(step, 100, 10, 0.1) for step in range(101)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert factors[100] == pytest.approx(0.1)
    assert cosine_factor(500, 100, 10, 0.1) == pytest.approx(0.1), "kept after the end"


def test_the_schedule_steps_the_optimiser() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = cosine_with_warmup(optimizer, total_steps=20, warmup_fraction=0.1)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.5 * cosine_factor(i, 20, 2) for i in range(20)])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0)


def rates(make: Callable[[Optimizer], LRScheduler], steps: int) -> list[float]:
    """The learning rate of each step, from a peak of 0.5."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5, momentum=0.9)
    schedule, found = make(optimizer), []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:  # PyTorch's cycle refuses one more
            schedule.step()
    return found


@pytest.mark.parametrize("steps_per_epoch", [1, 7, 1196])
def test_multi_step_drops_at_the_epochs_of_its_source(steps_per_epoch: int) -> None:
    total = 36 * steps_per_epoch
    ours = rates(lambda optimizer: multi_step(optimizer, total, [24, 32], 36), total)
    theirs = rates(lambda optimizer: MultiStepLR(optimizer, [24 * steps_per_epoch, 32 * steps_per_epoch]), total)
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_multi_step_warms_up_and_keeps_its_last_rate() -> None:
    found = rates(lambda optimizer: multi_step(optimizer, 20, [0.5], 1, 0.2, warmup_fraction=0.2), 25)
    assert found == pytest.approx([0.125, 0.25, 0.375, 0.5, *[0.5] * 6, *[0.1] * 15])


@pytest.mark.parametrize("milestones", [[32, 24], [24, 24], [24, 36], [0, 24]])
def test_multi_step_refuses_milestones_outside_of_the_run(milestones: list[float]) -> None:
    with pytest.raises(UserError, match=r"optim\.scheduler: got milestones=.*length=36; expected"):
        rates(lambda optimizer: multi_step(optimizer, 100, milestones, 36), 1)


@pytest.mark.parametrize("total", [40, 101, 1000])
@pytest.mark.parametrize("rise, start, final", [(0.3, 0.04, 4e-6), (0.05, 0.1, 1e-3)])
def test_one_cycle_is_that_of_pytorch(total: int, rise: float, start: float, final: float) -> None:
    ours = rates(lambda optimizer: one_cycle(optimizer, total, rise, start, final), total)
    theirs = rates(
        lambda optimizer: OneCycleLR(
            optimizer, 0.5, total, pct_start=rise, div_factor=1 / start, final_div_factor=start / final
        ),
        total,
    )
    assert ours == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("total, rise", [(1, 0.3), (2, 0.3), (5, 0.0), (5, 1.0)])
def test_a_short_cycle_or_half_of_one_stays_within_its_peak(total: int, rise: float) -> None:
    found = rates(lambda optimizer: one_cycle(optimizer, total, rise), total + 3)
    assert max(found) == pytest.approx(0.5)
    assert min(found) >= 0.5 * 4e-6 * 0.999


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD])
def test_the_fused_optimiser_steps_as_the_plain_one(kind: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(7, 5).double() for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    keywords = {"lr": 0.01, "weight_decay": 0.1} | ({"momentum": 0.9} if kind is torch.optim.SGD else {})
    fused = build_optimizer(partial(kind, **keywords), layers[0].parameters())
    plain = build_optimizer(partial(kind, **keywords, fused=False), layers[1].parameters())
    assert fused.param_groups[0]["fused"] and not plain.param_groups[0]["fused"]
    for _ in range(5):
        rows = torch.randn(9, 7, dtype=torch.float64)
        for layer, optimizer in zip(layers, (fused, plain), strict=True):
            optimizer.zero_grad()
            layer(rows).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(layers[0].weight, layers[1].weight, rtol=1e-12, atol=1e-12)


def test_other_optimisers_and_choices_of_the_user_stay() -> None:
    layer = torch.nn.Linear(2, 2)
    assert build_optimizer(partial(torch.optim.Adagrad, lr=0.1), layer.parameters()).defaults["fused"] is None
    assert build_optimizer(partial(torch.optim.Adam, foreach=True), layer.parameters()).defaults["fused"] is None
    assert type(build_optimizer(torch.optim.Rprop, layer.parameters())) is torch.optim.Rprop
