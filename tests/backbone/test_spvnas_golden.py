"""SPVNAS is the original function: logits, features, losses, gradients and running statistics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from golden_network import CLASSIFIER, GoldenNetwork, load_case
from torch.nn import functional as F

from clusterseg.backbone import SPVNAS
from clusterseg.sparse import sparse_tensor

CASES = ("small", "small_batch2", "lidar")
#: What dead columns of the original classifier, (19, 128) of which 76 are used, add to its parameters.
DEAD = 19 * (128 - 76)


@pytest.fixture(scope="module")
def network(shared: Path) -> GoldenNetwork:
    return GoldenNetwork(shared).eval()


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("case", CASES)
def test_eval_logits_and_cluster_features(network: GoldenNetwork, shared: Path, case: str) -> None:
    golden = load_case(shared, case)
    with torch.inference_mode():
        logits, features = network(golden["feats"], golden["coords"])
    error = float((logits - golden["logits"]).abs().max())
    assert error <= 1e-4, f"logits differ by {error:.2e}"
    if case == "lidar":
        expected, picked = golden["cluster_features_every8"], features[::8]
        sums = golden["cluster_features_colsum_f64"]
        mean_error = float((features.double().sum(0) - sums).abs().max()) / len(features)
        assert mean_error <= 1e-6, f"column means of the cluster features differ by {mean_error:.2e}"
    else:
        expected, picked = golden["cluster_features"], features
    error = float((picked - expected).abs().max())
    assert error <= 1e-4, f"cluster features differ by {error:.2e}"


@pytest.mark.parametrize("case", CASES)
def test_voxels_of_every_level(shared: Path, case: str) -> None:
    golden = load_case(shared, case)
    x, _ = sparse_tensor(golden["feats"], golden["coords"])
    for stride in (1, 2, 4, 8, 16):
        coords = x.with_feats(x.feats, stride).coords
        expected = torch.unique(golden[f"coords_stride{stride}"], dim=0)
        assert len(expected) == len(golden[f"coords_stride{stride}"])
        assert torch.equal(coords, expected), f"stride {stride}"


@pytest.fixture(scope="module", params=["ce", "ce_plus_cf2"])
def step(request: pytest.FixtureRequest, shared: Path) -> tuple[str, float, GoldenNetwork, dict[str, torch.Tensor]]:
    """One training step's loss and gradients, without dropout."""
    network = GoldenNetwork(shared, dropout=0).train()
    golden = load_case(shared, "train_small_batch2")
    logits, features = network(golden["feats"], golden["coords"])
    loss = F.cross_entropy(logits, golden["targets"], ignore_index=255)
    if request.param == "ce_plus_cf2":
        loss = loss + features.square().mean()
    loss.backward()
    return request.param, loss.item(), network, golden


@pytest.fixture(scope="module")
def train_summary(shared: Path) -> dict:
    return json.loads((shared / "golden/golden_train_small_batch2.json").read_text())


def has_zero_gradient(name: str) -> bool:
    """Whether it is a bias right before a BatchNorm: its true gradient is zero, the rest is noise."""
    return name.endswith("net.conv.bias") or name in {"proj.0.bias", "proj.3.bias", "proj.6.bias"}


def test_train_loss(step: tuple, train_summary: dict) -> None:
    kind, loss, _, _ = step
    error = abs(loss - train_summary[kind]["loss"])
    assert error <= 1e-5, f"loss {loss:.7f} differs by {error:.2e}"


def test_train_gradient_norms(step: tuple, train_summary: dict) -> None:
    kind, _, network, _ = step
    expected = train_summary[kind]["grad_norms"]
    parameters = network.named_as_original()
    assert list(parameters) == list(expected)
    errors = {}
    for name, norm in expected.items():
        gradient = parameters[name].grad
        if norm is None:
            assert gradient is None, f"{name} has a gradient, the original none"
        elif not has_zero_gradient(name):
            errors[name] = abs(float(gradient.double().norm()) - norm) / norm
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] <= 1e-3, f"gradient norm of {worst} differs by {errors[worst]:.2e}"
    assert len(errors) == len([n for n in expected.values() if n is not None]) - (3 if kind == "ce" else 6)


def test_train_whole_gradients(step: tuple) -> None:
    """Float32 thread order alone moves single values by 2.4e-3 of the largest one."""
    kind, _, network, golden = step
    parameters = network.named_as_original()
    stored = {k.split("::")[1]: v for k, v in golden.items() if k.startswith(f"grad_{kind}::")}
    checked = [name for name in stored if not has_zero_gradient(name)]
    assert len(checked) >= 4
    for name in checked:
        gradient = parameters[name].grad
        want = stored[name]
        if name == CLASSIFIER:
            assert want[:, gradient.shape[1] :].abs().max() == 0, "the dead columns have no gradient"
            want = want[:, : gradient.shape[1]]
        error = float((gradient - want).abs().max() / want.abs().max())
        assert error <= 5e-3, f"gradient of {name} differs by {error:.2e} of its maximum"


def test_train_running_statistics(step: tuple) -> None:
    _, _, network, golden = step
    state = network.backbone.state_dict() | {f"proj.{k}": v for k, v in network.proj.state_dict().items()}
    stored = {k.split("::")[1]: v for k, v in golden.items() if k.startswith("after::")}
    assert len(stored) == 14
    for name, want in stored.items():
        error = float((state[name] - want).abs().max())
        assert error <= 1e-5, f"{name} differs by {error:.2e}"


def test_train_outputs(shared: Path) -> None:
    network, golden = GoldenNetwork(shared, dropout=0).train(), load_case(shared, "train_small_batch2")
    with torch.no_grad():
        logits, features = network(golden["feats"], golden["coords"])
    assert float((logits - golden["logits"]).abs().max()) <= 1e-4
    assert float((features - golden["cluster_features"]).abs().max()) <= 1e-4


def test_state_dict_is_the_original_but_for_the_dead_classifier_columns(shared: Path) -> None:
    names = json.loads((shared / "golden/state_dict_spvnas.json").read_text())
    network = SPVNAS(shared / "golden/net.config")
    ours = [[name, list(value.shape)] for name, value in network.state_dict().items()]
    different = [(a, b) for a, b in zip(ours, names, strict=True) if a != b]
    assert different == [([CLASSIFIER, [19, 76]], [CLASSIFIER, [19, 128]])]
    assert sum(p.numel() for p in network.parameters()) == 10_789_879 - DEAD == 10_788_891
