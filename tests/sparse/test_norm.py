from __future__ import annotations

import torch
from torch import nn

from clusterseg.sparse import BatchNorm


def norms() -> tuple[BatchNorm, nn.BatchNorm1d]:
    """Ours and PyTorch's with the same random state."""
    torch.manual_seed(0)
    ours, reference = BatchNorm(5), nn.BatchNorm1d(5)
    with torch.no_grad():
        for tensor in (ours.weight, ours.bias, ours.running_mean):
            tensor.normal_()
        ours.running_var.uniform_(0.5, 2)
    reference.load_state_dict(ours.state_dict())
    return ours, reference


def test_one_row_in_training_uses_the_running_statistics_and_leaves_them() -> None:
    ours, reference = norms()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    feats = torch.randn(1, 5, requires_grad=True)
    out = ours.train()(feats)
    torch.testing.assert_close(out, reference.eval()(feats))
    (grad,) = torch.autograd.grad(out.sum(), feats)
    torch.testing.assert_close(grad[0], ours.weight / (ours.running_var + 1e-5).sqrt())
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_more_rows_are_plain_batch_normalisation() -> None:
    ours, reference = norms()
    feats = torch.randn(7, 5)
    assert torch.equal(ours.train()(feats), reference.train()(feats))
    assert int(ours.num_batches_tracked) == 1
    assert torch.equal(ours.running_var, reference.running_var)
    assert torch.equal(ours.eval()(feats[:1]), reference.eval()(feats[:1]))
