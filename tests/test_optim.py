"""The learning-rate schedule."""

from __future__ import annotations

import math

import pytest
import torch

from clusterseg.optim import cosine_factor, cosine_with_warmup


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
