"""Mappings: the raw ids of one data set onto the classes of another one's label map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clusterseg.config.signatures import nearest
from clusterseg.errors import UserError

if TYPE_CHECKING:
    from clusterseg.data.label_map import LabelMap

RawId = Annotated[int, Field(ge=0, le=65535)]


class _Mapping(BaseModel):
    """A mapping as written in YAML."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    of: str
    onto: str
    ignored: list[RawId] = []
    classes: dict[str, list[RawId]]


def first_mistake(error: ValidationError, whole: str) -> str:
    """Return the first mistake that was found in a table: its key (`whole` for the table itself), and what was got."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key or whole}: {first['msg'].lower()}, got {str(first['input'])[:60]}"


def expand(mapping: Mapping[str, Any], where: str, load: Callable[[str], LabelMap]) -> dict[str, Any]:
    """Return the label map that a mapping describes, as a table that stands on its own.

    Names, colours and the ids written in predictions are those of the map `onto`; the ids read are those of the data
    set. A class that the data set lacks reads no id.

    Args:
        mapping: name; of: the data set's own label map; onto: that of the classes; ignored: raw ids; classes: raw ids
            by name of a class of `onto`.
        where: Its file or key, for messages.
        load: Loads a label map by its name or path.

    Raises:
        UserError: The mapping is malformed, names a class or an id that does not exist, or leaves an id out.
    """
    try:
        checked = _Mapping.model_validate(dict(mapping))
    except ValidationError as error:
        raise UserError(
            f"{where}: {first_mistake(error, 'the mapping')}; expected name, "
            "of and onto (label maps), ignored (raw ids), and classes as NAME: [raw ids]"
        ) from None
    target = load(checked.onto)
    _require_classes(checked, target, where)
    _require_ids(checked, load(checked.of), where)
    classes = {
        name: {"id": int(raw), "raw": checked.classes.get(name, []), "colour": colour.tolist()}
        for name, raw, colour in zip(target.class_names, target.train_to_raw, target.colours, strict=True)
    }
    return {"name": checked.name, "ignored": checked.ignored, "unlabeled": target.unlabeled, "classes": classes}


def _require_classes(mapping: _Mapping, target: LabelMap, where: str) -> None:
    unknown = [name for name in mapping.classes if name not in target.class_names]
    if unknown:
        raise UserError(
            f"{where}: classes {', '.join(unknown)}: onto={mapping.onto} has no such class"
            f"{nearest(unknown[0], target.class_names)}; it has {', '.join(target.class_names)}"
        )


def _require_ids(mapping: _Mapping, own: LabelMap, where: str) -> None:
    """Refuse a mapping that leaves an id of the data set out, or names one that it does not have."""
    known = set(np.flatnonzero(own.raw_to_train >= 0).tolist())
    named = {raw for ids in mapping.classes.values() for raw in ids} | set(mapping.ignored)
    if known - named:
        raise UserError(
            f"{where}: leaves out {_listed(known - named, own)}, which of={mapping.of} has; "
            "list each under a class or under ignored"
        )
    if named - known:
        raise UserError(f"{where}: raw ids {sorted(named - known)}: of={mapping.of} has no such id; take them out")


def _listed(raw: set[int], own: LabelMap) -> str:
    """List raw ids with the classes that the data set's own map gives them."""
    trains = {each: int(own.raw_to_train[each]) for each in sorted(raw)}
    names = {each: own.class_names[t] if t < own.num_classes else "ignored there" for each, t in trains.items()}
    return "raw ids " + ", ".join(f"{each} ({name})" for each, name in names.items())
