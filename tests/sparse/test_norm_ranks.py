"""BatchNorm over several gloo ranks against the plain one over all rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from ranks import start_ranks
from torch import Tensor

from clusterseg.losses import CrossEntropy, LovaszSoftmax
from clusterseg.sparse import BatchNorm

CHANNELS = 5
ROWS = [(40, 7), (1, 30), (1, 1)]  # of each rank, step by step
LABELS = [(40, 7), (3, 30), (0, 9), (0, 0)]


def rows(step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [100 + 3 * torch.randn(n, CHANNELS, generator=generator, dtype=torch.float64) for n in ROWS[step]]


def labelled(step: int) -> list[tuple[Tensor, Tensor]]:
    """Logits and labels of each rank, in so many of which the label is valid."""
    generator = torch.Generator().manual_seed(step)
    parts = []
    for valid in LABELS[step]:
        labels = torch.randint(0, CHANNELS - 1, (valid + 4,), generator=generator)
        labels[valid:] = 255
        parts.append((torch.randn(valid + 4, CHANNELS, generator=generator), labels))
    return parts


def normalise(norm: BatchNorm, feats: Tensor, slope: Tensor) -> dict[str, Tensor]:
    norm.zero_grad()
    feats = feats.clone().requires_grad_()
    out = norm(feats)
    (out.square() * slope).sum().backward()
    grads = {name: p.grad.clone() for name, p in norm.named_parameters()}
    return {"out": out.detach(), "feats": feats.grad, **grads, **{k: b.clone() for k, b in norm.named_buffers()}}


def loss_and_gradient(loss: torch.nn.Module, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, labels)
    value.backward()
    return value.detach(), logits.grad


def terms(joint: bool = False) -> list[torch.nn.Module]:
    weighted = CrossEntropy(label_smoothing=0.2, class_weights={"default": 0.1, "b": 3.0, "c": 0.0})
    weighted.bind("abcde")
    return [CrossEntropy(2.0), LovaszSoftmax(joint=joint), weighted]


def fresh(synced: bool) -> BatchNorm:
    norm = BatchNorm(CHANNELS).double()
    torch.nn.init.uniform_(norm.weight, generator=torch.Generator().manual_seed(5))
    norm.synced = synced
    return norm


def one_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    norm = fresh(synced=True)
    steps = [normalise(norm, rows(s)[rank], torch.arange(1.0, CHANNELS + 1)) for s in range(len(ROWS))]
    losses = [[loss_and_gradient(loss, *labelled(s)[rank]) for loss in terms(joint=True)] for s in range(len(LABELS))]
    torch.save({"steps": steps, "losses": losses}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder: Path = tmp_path_factory.mktemp("norm")
    start_ranks(one_rank, 2, str(folder))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_statistics_outputs_and_gradients_are_those_of_all_rows(ranks: list[dict]) -> None:
    norm = fresh(synced=True)  # without a process group it is the plain one
    for step in range(len(ROWS)):
        joint = normalise(norm, torch.cat(rows(step)), torch.arange(1.0, CHANNELS + 1))
        parts = [record["steps"][step] for record in ranks]
        for name in ("out", "feats"):
            got = torch.cat([part[name] for part in parts])
            torch.testing.assert_close(got, joint[name], rtol=1e-9, atol=1e-9)
        for name in ("weight", "bias"):
            torch.testing.assert_close(parts[0][name] + parts[1][name], joint[name], rtol=1e-9, atol=1e-9)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            torch.testing.assert_close(parts[0][name], joint[name], rtol=1e-12, atol=1e-12)
            assert torch.equal(parts[0][name], parts[1][name])


@pytest.mark.parametrize("index", [0, 1, 2], ids=["ce", "lovasz", "smoothed and weighted ce"])
def test_losses_are_those_of_the_joint_batch(index: int, ranks: list[dict]) -> None:
    loss = terms()[index]
    for step in range(len(LABELS)):
        logits, labels = (torch.cat(parts) for parts in zip(*labelled(step), strict=True))
        value, gradient = loss_and_gradient(loss, logits, labels)
        parts = [record["losses"][step][index] for record in ranks]
        mean = torch.stack([part[0] for part in parts]).mean()
        torch.testing.assert_close(mean, value, rtol=1e-6, atol=1e-7)
        # DDP takes the mean over the ranks.
        torch.testing.assert_close(torch.cat([part[1] for part in parts]) / 2, gradient, rtol=1e-5, atol=1e-7)
    assert value == 0  # no valid label anywhere
