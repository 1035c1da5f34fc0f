from __future__ import annotations

from clusterseg.config.flatten import compare, differing, flat


def test_flat() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": {}}, "e": None, 8: [1, 2]}) == {
        "a.b.c": 1,
        "a.d": {},
        "e": None,
        "8": [1, 2],
    }
    assert flat({}) == flat(None) == {}


def test_differing_keys_are_in_order_and_a_missing_one_differs_from_none() -> None:
    assert differing([{"a": 1, "b": 2, "c": None}, {"b": 3, "a": 1}]) == ["b", "c"]
    assert differing([{"a": 1}]) == []


def test_compare() -> None:
    theirs = {"a": {"b": 1, "c": {"x": 1}}, "d": None, "net": {"control": {"w": 1}}}
    ours = {"a": {"b": 2, "c": {"x": 1}}, "d": {"e": 1}, "net": {"control": {"w": 2}}, "f": 3}
    assert list(compare(theirs, ours, whole=("control",))) == [
        ("a.b", 1, 2),
        ("d", None, {"e": 1}),
        ("net.control", {"w": 1}, {"w": 2}),
        ("f", None, 3),
    ]
    assert list(compare(ours, ours)) == []
