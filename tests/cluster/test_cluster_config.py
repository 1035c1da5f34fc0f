from __future__ import annotations

import inspect

import hydra
import pytest

from clusterseg.cluster import ClusterHead

NAMES = ["car", "bicyclist", "motorcyclist", "road"]


@pytest.fixture
def compose(pytestconfig):
    folder = str(pytestconfig.rootpath / "conf" / "model" / "cluster")
    with hydra.initialize_config_dir(folder, version_base="1.3"):
        yield hydra.compose


def test_default_is_the_constructors_default(compose) -> None:
    config = compose("default")
    for name, parameter in inspect.signature(ClusterHead).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            value = config[name]
            assert (tuple(value) if name == "projection" else value) == parameter.default, name


def test_default_builds(compose) -> None:
    head = hydra.utils.instantiate(compose("default"))(232, NAMES)
    assert head.centers.vectors.shape == (4, 40, 64)


def test_reference_names_the_rare_classes(compose) -> None:
    head = hydra.utils.instantiate(compose("reference"))(in_channels=232, class_names=NAMES)
    assert head.centers.exists.sum(1).tolist() == [40, 10, 10, 40]
    assert head.anchors_total == 100


def test_a_class_can_be_set_on_the_command_line(compose) -> None:
    config = compose("default", overrides=["clusters_per_class={default:7,road:2}"])
    head = hydra.utils.instantiate(config)(8, NAMES)
    assert head.centers.exists.sum(1).tolist() == [7, 7, 7, 2]
