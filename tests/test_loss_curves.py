"""Each network and recipe trains as it did when its losses were stored: see `loss_curves.py`."""

from __future__ import annotations

from pathlib import Path

import loss_curves
import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return loss_curves.write_inputs(tmp_path_factory.mktemp("curves"))


@pytest.mark.parametrize(
    "case", [*loss_curves.QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in loss_curves.SLOW)]
)
def test_the_losses_are_those_that_are_stored(case: str, folder: Path) -> None:
    found, expected = loss_curves.curve(case, folder), loss_curves.stored()[case]
    difference = loss_curves.largest_difference(found, expected)
    print("off by", difference)
    remedy = f"if that is meant, see CONTRIBUTING.md: python tests/loss_curves.py --write '{case}'"
    assert difference <= loss_curves.TOLERANCE, f"{found} where {expected} were stored; {remedy}"
    assert len(set(found)) == loss_curves.STEPS


def test_every_case_is_stored() -> None:
    assert list(loss_curves.stored()) == list(loss_curves.CASES)
