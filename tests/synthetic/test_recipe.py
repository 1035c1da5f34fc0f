import dataclasses
import json

import pytest

from clusterseg.commands.front_door import run
from clusterseg.errors import UserError
from clusterseg.synthetic import Recipe
from clusterseg.synthetic.town import town_kind


def test_every_setting_changes_the_hash():
    base = Recipe()
    changed = {
        "scans": 21, "seed": 2, "sequences": (0, 8), "beams": 32, "azimuths": 1000, "period": 0.1,
        "max_range": 70.0, "noise": 0.02, "hoardings": 0.5, "narrow": 0.5,
    }  # fmt: skip
    assert set(changed) == {f.name for f in dataclasses.fields(Recipe)}
    hashes = {base.hash} | {dataclasses.replace(base, **{key: value}).hash for key, value in changed.items()}
    assert len(hashes) == 1 + len(changed)
    assert base.hash == Recipe().hash


def test_data_sets_of_before_a_setting_keep_their_hash_and_are_recognised(tmp_path):
    old = tmp_path / "streets.json"
    settings = json.loads(Recipe().to_json())
    del settings["hoardings"], settings["narrow"]
    old.write_text(json.dumps(settings))
    assert settings["hash"] == "b1c9d4db048e2346"  # as written before there were these two
    assert Recipe().differences(old) is None
    assert Recipe(seed=2).differences(old) == "seed is 1, asked for 2"


@pytest.mark.parametrize("text", ["[00,08]", "0,8", "08,00,8", [0, 8], ["00", "08"], (8, 0)])
def test_sequences_are_read_from_text_and_lists(text):
    assert Recipe.of(sequences=text).sequences == (0, 8)


def test_settings_may_be_text():
    assert Recipe.of(scans="3", beams="32", period="0.5") == Recipe(scans=3, beams=32, period=0.5)
    assert Recipe.of(sequences="all").sequences == tuple(range(22))
    assert Recipe.of(sequences=8).sequences == (8,)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scans", "0"), ("scans", "many"), ("scans", "1.5"), ("scans", "inf"), ("seed", "-1"), ("sequences", "100"),
        ("sequences", "[]"), ("sequences", "a,b"), ("sequences", None), ("beams", "48"), ("azimuths", "3"),
        ("period", "0"), ("period", "nan"), ("max_range", "500"), ("noise", "-0.1"), ("hoardings", "1.5"),
        ("narrow", "-1"), ("colour", "red"),
    ],
)  # fmt: skip
def test_wrong_settings_name_the_key(key, value):
    with pytest.raises(UserError, match=f"^{key}: .*(got|is not)"):
        Recipe.of(**{key: value})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scans=1"], "out is not set"),
        (["out=x", "colour=red"], "colour: no such key"),
        (["out=x", "scans"], "scans: not of the form key=value"),
        (["out=x", "workers=none"], "workers=none: expected an integer of at least 1"),
        (["out=x", "overwrite=maybe"], "overwrite=maybe: expected true or false"),
        (["out=x", "beams=3"], "beams: got 3"),
    ],
)
def test_wrong_command_lines_end_with_one_message(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run("streets", arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_help_names_every_setting(capsys):
    with pytest.raises(SystemExit) as ended:
        run("streets", ["--help"])
    assert not ended.value.code
    usage = capsys.readouterr().out
    assert all(f"{f.name}: " in usage for f in dataclasses.fields(Recipe))


def test_towns_beyond_the_benchmarks_take_the_three_mixes_by_turns():
    kinds = [town_kind(sequence) for sequence in range(100)]
    assert [s for s in range(22) if kinds[s] == "val"] == [8]
    assert [s for s in range(22) if kinds[s] == "test"] == list(range(11, 22))
    assert [kinds[22:].count(kind) for kind in ("train", "val", "test")] == [26, 26, 26]
