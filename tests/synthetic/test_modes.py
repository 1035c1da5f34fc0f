import json

import numpy as np
import pytest

from clusterseg.errors import UserError
from clusterseg.synthetic import mode_names, read_modes
from clusterseg.synthetic.labels import CLASS_OF, CLASSES, MOVING, Raw
from clusterseg.synthetic.modes import MAX_INSTANCES, ModeRegister, mode_weights


def test_every_class_has_three_to_six_modes_with_a_long_tail_and_a_shift():
    assert len(CLASSES) == 19
    for name, raws in CLASSES.items():
        train, val, test = (mode_weights(name, town) for town in ("train", "val", "test"))
        assert 3 <= len(train) <= 6
        for weights in (train, val, test):
            assert weights.sum() == pytest.approx(1)
        assert train.max() > 3 * train.min()
        assert np.abs(train - val).sum() / 2 > 0.15
        assert test == pytest.approx((train + val) / 2)
        assert all(mode_names(raw) == mode_names(raws[0]) for raw in raws)


def test_a_moving_thing_has_the_class_of_a_standing_one():
    assert all(CLASS_OF[moving] == CLASS_OF[raw] for raw, moving in MOVING.items())


def test_modes_are_drawn_by_the_frequencies_of_the_town():
    rng = np.random.default_rng(0)
    for town in ("train", "val"):
        register = ModeRegister(town)
        drawn = [register.draw("car", rng) for _ in range(4000)]
        names = mode_names(Raw.CAR)
        share = np.array([drawn.count(name) for name in names]) / len(drawn)
        assert share == pytest.approx(mode_weights("car", town), abs=0.03)
    assert {register.draw("car", rng, ("van", "suv")) for _ in range(50)} == {"van", "suv"}


def test_instances_are_numbered_from_one_and_read_back(tmp_path):
    register = ModeRegister("train")
    assert register.add(Raw.CAR, "suv") == 1
    assert register.add(Raw.MOVING_CAR, "van") == 2
    assert register.add(Raw.OTHER_OBJECT, "") == 3
    assert register.raw.tolist() == [0, 10, 252, 99]
    (tmp_path / "modes.json").write_text(register.to_json())
    suv, van = mode_names(Raw.CAR).index("suv"), mode_names(Raw.CAR).index("van")
    assert read_modes(tmp_path) == {1: (10, suv), 2: (252, van), 3: (99, 0)}


def test_more_things_than_instance_bits_is_an_error():
    register = ModeRegister("train")
    register._entries = [(10, 0)] * MAX_INSTANCES
    with pytest.raises(UserError, match="fewer scans"):
        register.add(Raw.CAR, "van")


@pytest.mark.parametrize(
    "text", ["{", "[]", json.dumps({"instances": {"1": 3}}), json.dumps({"instances": {"a": [1, 2]}})]
)
def test_a_broken_index_is_told(tmp_path, text):
    (tmp_path / "modes.json").write_text(text)
    with pytest.raises(UserError, match=r"modes\.json"):
        read_modes(tmp_path)


def test_a_missing_index_is_told(tmp_path):
    with pytest.raises(UserError, match="true modes"):
        read_modes(tmp_path)
