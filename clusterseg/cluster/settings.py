"""The head's settings: defaults, and checks across several settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from clusterseg.errors import UserError
from clusterseg.files import CONF


def default_settings() -> dict[str, Any]:
    """Return the settings of `conf/model/cluster/default.yaml`, the only place with the defaults."""
    settings = yaml.safe_load((CONF / "model" / "cluster" / "default.yaml").read_text())
    return {key: value for key, value in settings.items() if not key.startswith("_")}


def clusters_by_class(class_names: Sequence[str], spec: int | Mapping[str, int]) -> list[int]:
    """Return the number of clusters of each class, in class order.

    Args:
        class_names: The names of the data's classes.
        spec: One number for all, or numbers by class name, with `default` for the classes not named.

    Raises:
        UserError: An unknown name, or a class left without a number.
    """
    by_name = dict(spec) if isinstance(spec, Mapping) else {"default": spec}
    default = by_name.pop("default", None)
    unknown = sorted(set(by_name) - set(class_names))
    if unknown:
        raise _error("clusters_per_class", f"class names {unknown}", f"names among {list(class_names)}")
    missing = sorted(set(class_names) - set(by_name))
    if missing and default is None:
        raise _error("clusters_per_class", f"no number for {missing}", "a number for each class, or a `default`")
    counts: list[Any] = [by_name.get(name, default) for name in class_names]
    return counts


def require_fitting(
    bank_push: int,
    bank_size: int,
    anchors_total: int | None,
    class_names: Sequence[str],
    weights: Mapping[str, float],
) -> None:
    """Check the consistency of settings.

    Raises:
        UserError: More vectors are pushed in a step than the bank holds, a class could be left without an anchor, or
            there is no term.
    """
    if bank_push > bank_size:
        raise _error("bank_push", str(bank_push), f"an integer from 1 to {bank_size}")
    if anchors_total is not None and anchors_total < len(class_names):
        raise _error("anchors_total", str(anchors_total), f"an integer of at least {len(class_names)}")
    if not any(weights.values()):
        names = ", ".join(f"weight_{name}" for name in weights)
        raise UserError(f"model.cluster: got only weights of 0, expected one of {names} above 0, or model.cluster=null")


def _error(key: str, got: str, expected: str) -> UserError:
    return UserError(f"model.cluster.{key}={got}: expected {expected}")
