"""The lines of a training that is watched through a log or a pipe."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from clusterseg.callbacks.progress import LineProgress


def lines(terms: dict[str, Tensor], capsys: pytest.CaptureFixture[str]) -> list[str]:
    trainer: Any = SimpleNamespace(
        callback_metrics={"train/loss": torch.tensor(4.1449), "train/miou_present": torch.tensor(0.25)},
        is_last_batch=False,
        num_training_batches=24,
        current_epoch=2,
        global_step=51,
        state=SimpleNamespace(fn=TrainerFn.FITTING),
    )
    task: Any = SimpleNamespace(terms=terms)
    callback = LineProgress(seconds=60)
    for batch in range(3):  # the second and third come too soon
        callback.on_train_batch_end(trainer, task, None, None, batch)
    return capsys.readouterr().out.splitlines()


def test_a_line_names_the_terms_of_the_loss(capsys: pytest.CaptureFixture[str]) -> None:
    terms = {"ce": torch.tensor(2.94), "lovasz": torch.tensor(0.95), "point_bank": torch.tensor(0.2551)}
    assert lines(terms, capsys) == [
        "epoch 2 step 51 batch 1/24  train/loss 4.145 (ce 2.94, lovasz 0.95, point_bank 0.255)  train/miou_present 0.25"
    ]


def test_a_single_term_is_the_loss(capsys: pytest.CaptureFixture[str]) -> None:
    said = lines({"ce": torch.tensor(4.1449)}, capsys)
    assert said == ["epoch 2 step 51 batch 1/24  train/loss 4.145  train/miou_present 0.25"]


def test_a_score_without_a_training_has_no_step(capsys: pytest.CaptureFixture[str]) -> None:
    trainer: Any = SimpleNamespace(
        callback_metrics={"val/miou": torch.tensor(0.5)},
        num_val_batches=[12],
        current_epoch=0,
        global_step=0,
        state=SimpleNamespace(fn=TrainerFn.VALIDATING),
    )
    callback, task = LineProgress(), SimpleNamespace()
    callback.on_validation_batch_end(trainer, task, None, None, 0)  # type: ignore[arg-type]
    callback.on_validation_end(trainer, task)  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == ["evaluating, batch 1/12"]
