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


def test_each_setting_has_one_default_in_the_yaml(compose) -> None:
    parameters = inspect.signature(ClusterHead).parameters
    settings = {name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
    assert settings == {name for name in compose("default") if not name.startswith("_")}
    assert all(parameters[name].default is inspect.Parameter.empty for name in settings)
    assert ClusterHead.default(8, NAMES, seed=3).draw.seed == 3
    assert ClusterHead.default(8, NAMES).bank.vectors.shape[1] == compose("default").bank_size


def test_default_builds(compose) -> None:
    head = hydra.utils.instantiate(compose("default"))(232, NAMES)
    assert head.centers.vectors.shape == (4, 40, 64)


def test_reference_names_the_rare_classes(compose) -> None:
    head = hydra.utils.instantiate(compose("reference"))(in_channels=232, class_names=NAMES)
    assert head.centers.exists.sum(1).tolist() == [40, 10, 10, 40]
    assert head.draw.total == 100


def test_a_class_can_be_set_on_the_command_line(compose) -> None:
    config = compose("default", overrides=["clusters_per_class={default:7,road:2}"])
    head = hydra.utils.instantiate(config)(8, NAMES)
    assert head.centers.exists.sum(1).tolist() == [7, 7, 7, 2]
