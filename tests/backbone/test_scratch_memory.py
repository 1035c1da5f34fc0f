"""A network keeps its scratch memory: no pass may disturb another one."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from small_network import network, scan
from torch import Tensor

from clusterseg.backbone import SPVNAS


def gradients(net: SPVNAS, *scans: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Of the summed losses of the scans, all forward passes before the one backward pass."""
    losses = [net(*one).logits.square().mean() for one in scans]
    return list(torch.autograd.grad(torch.stack(losses).sum(), list(net.parameters())))


def test_two_forward_passes_before_one_backward() -> None:
    net = network().eval()
    first, second = scan(300, seed=0), scan(700, seed=1)
    together = gradients(net, first, second)
    alone = [a + b for a, b in zip(gradients(net, first), gradients(net, second), strict=True)]
    for got, want in zip(together, alone, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_smaller_and_larger_scans_in_turn() -> None:
    scans = [scan(voxels, seed=voxels) for voxels in (300, 900, 1, 500)]
    net = network().eval()
    with torch.no_grad():
        kept = [net(*one).logits for one in scans]
        fresh = [network().eval()(*one).logits for one in scans]
    assert all(torch.equal(a, b) for a, b in zip(kept, fresh, strict=True))


def test_inference_before_and_between_training() -> None:
    net = network().eval()
    one = scan(300)
    with torch.inference_mode():
        net(*one)
    expected = gradients(network().eval(), one)
    logits = net(*one).logits
    with torch.inference_mode():
        net(*scan(900, seed=1))
    got = torch.autograd.grad(logits.square().mean(), list(net.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_threads_share_a_network() -> None:
    net = network().eval()
    scans = [scan(600, seed=seed) for seed in range(4)]
    expected = [gradients(net, one) for one in scans]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda i: gradients(net, scans[i % 4]), range(16)))
    for i, got in enumerate(results):
        for a, b in zip(got, expected[i % 4], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_a_used_network_can_be_copied(clone) -> None:
    net = network().eval()
    one = scan(300)
    with torch.no_grad():
        before = net(*one).logits
        assert torch.equal(clone(net)(*one).logits, before)


def test_scratch_memory_is_no_part_of_the_weights() -> None:
    net = network()
    names = list(net.state_dict())
    net(*scan(300))
    assert list(net.state_dict()) == names
    net.load_state_dict(network().state_dict())
