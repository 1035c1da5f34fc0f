"""Several data sets as one, with one set of classes, in given proportions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from clusterseg.config.signatures import checked
from clusterseg.data.datamodule import Positive, ScanDataModule
from clusterseg.data.label_map import IGNORE_INDEX, LabelMap, load_label_map
from clusterseg.data.proportions import Proportions
from clusterseg.data.reader import Reader, Scan
from clusterseg.errors import UserError


@checked("data.parts")
@dataclass(frozen=True, eq=False)
class Part:
    """One data set of a mixture.

    Attributes:
        reader: Its reader.
        label_map: The map of its raw ids onto the classes of the mixture: a mapping such as
            `pandaset_as_semantickitti`, or the mixture's own.
        share: Its share of the training scans, in any unit; None for its number of scans.
        validate: Whether its validation scans are validated on.
    """

    reader: Reader
    label_map: str | dict[str, Any]
    share: Annotated[float, Field(ge=0)] | None = None
    validate: bool = True


class MixtureReader(Reader):
    """Reads the scans of several data sets, and translates their labels into raw ids of one label map.

    Scans are named by their part, as `pandaset/002/00`. The order is that of the parts.

    Args:
        parts: The data sets by name.
        label_map: The classes of the mixture.
        max_scans: Cap on the scans of each split of each part, which takes the first ones; None for no cap.

    Raises:
        UserError: The data sets have other channels or other classes, or a label map is wrong.
    """

    def __init__(self, parts: Mapping[str, Part], label_map: LabelMap, max_scans: int | None = None) -> None:
        if not parts or any("/" in name for name in parts):
            raise UserError(
                f"data.parts: {', '.join(parts) or 'no data set'}; expected at least one, with a name without a slash, "
                "as in conf/data/mixture.yaml"
            )
        self.max_scans = max_scans
        self.parts = dict(parts)
        self.features = tuple(next(iter(self.parts.values())).reader.features)
        self._tables = {name: self._table(name, part, label_map) for name, part in self.parts.items()}
        holes = [part.reader.no_return for part in self.parts.values()]
        self.no_return = any(holes)  # type: ignore[misc]  # a constant of its class elsewhere
        self._require_same_channels()

    def scans(self, split: str) -> Sequence[str]:
        """List the scans of a split, part after part."""
        return [f"{name}/{scan_id}" for name in self.parts for scan_id in self.scans_of(name, split)]

    def unchecked(self, split: str) -> Sequence[str]:
        """List the scans of a split with as few checks as each part makes."""
        parts = {name: part for name, part in self.parts.items() if self._has(part, split)}
        found = {name: list(part.reader.unchecked(split))[: self.max_scans] for name, part in parts.items()}
        return [f"{name}/{scan_id}" for name, scan_ids in found.items() for scan_id in scan_ids]

    def scans_of(self, name: str, split: str) -> Sequence[str]:
        """List the scans of a part under their own names; those of a split that it lacks are none."""
        part = self.parts[name]
        return list(part.reader.scans(split))[: self.max_scans] if self._has(part, split) else []

    def has_split(self, split: str) -> bool:
        """Return whether any part has the split."""
        return any(self._has(part, split) for part in self.parts.values())

    @staticmethod
    def _has(part: Part, split: str) -> bool:
        return (part.validate or split != "val") and part.reader.has_split(split)

    def read(self, scan_id: str) -> Scan:
        """Read a scan; the low 16 bits of its labels are raw ids of the mixture's label map."""
        name, _, own = scan_id.partition("/")
        scan = self.parts[name].reader.read(own)
        context = None if scan.context is None else self._translated(name, scan.context)
        return replace(self._translated(name, scan), context=context)

    def _translated(self, name: str, scan: Scan) -> Scan:
        if scan.labels is None:
            return scan
        raw = scan.labels.astype(np.int64)
        translated = self._tables[name][raw & 0xFFFF]
        if (translated < 0).any():
            self._part_map(name).to_train(scan.labels)  # raises: it names the ids that are unknown
        return replace(scan, labels=translated | (raw & ~0xFFFF))

    def source(self, scan_id: str, what: str = "points") -> str:
        """Return the path of the part's file."""
        name, _, own = scan_id.partition("/")
        return self.parts[name].reader.source(own, what)

    def prediction_name(self, scan_id: str) -> str:
        """Return the path of the part, under its name."""
        name, _, own = scan_id.partition("/")
        return f"{name}/{self.parts[name].reader.prediction_name(own)}"

    def modes(self, scan_id: str) -> Mapping[int, int] | None:
        """Return the subclasses that the part knows."""
        name, _, own = scan_id.partition("/")
        return self.parts[name].reader.modes(own)

    def mode_names(self) -> Mapping[str, Sequence[str]]:
        """Return the names of the subclasses of the first part that has some."""
        return next((names for part in self.parts.values() if (names := part.reader.mode_names())), {})

    def instance_scope(self, scan_id: str) -> str:
        """Return the part's scope, under its name."""
        name, _, own = scan_id.partition("/")
        return f"{name}/{self.parts[name].reader.instance_scope(own)}"

    def _part_map(self, name: str) -> LabelMap:
        return load_label_map(self.parts[name].label_map)

    def _table(self, name: str, part: Part, label_map: LabelMap) -> np.ndarray:
        """Return the mixture's raw id of each raw id of a part; -1 where it is unknown."""
        own = load_label_map(part.label_map)
        if own.class_names != label_map.class_names:
            raise UserError(
                f"data.parts.{name}.label_map={own.name} has other classes ({_listed(own)}) than "
                f"data.label_map={label_map.name} ({_listed(label_map)}); give a mapping onto the latter, such as "
                "pandaset_as_semantickitti"
            )
        train = own.raw_to_train.astype(np.int64)
        written = np.append(label_map.train_to_raw, label_map.unlabeled)
        return np.where(train < 0, -1, written[np.where(train == IGNORE_INDEX, -1, train)])

    def _require_same_channels(self) -> None:
        first = next(iter(self.parts))
        for name, part in self.parts.items():
            if tuple(part.reader.features) != self.features:
                raise UserError(
                    f"data.parts.{name} has the channels {', '.join(part.reader.features)}, data.parts.{first} has "
                    f"{', '.join(self.features)}; a network takes one set of channels: choose the same in all parts"
                )


def _listed(label_map: LabelMap) -> str:
    names = label_map.class_names
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


class MixtureDataModule(ScanDataModule):
    """Several data sets as one.

    An epoch has as many training scans as the data sets together, or `epoch_scans`; how many of them each part gives is
    set by its share, see `Proportions`. Without any share every scan is seen once an epoch. Validation scans are those
    of all parts, each once.

    Args:
        parts: The data sets by name; see `Part`. An entry of None is left out.
        label_map: The classes. Its `unlabeled` must be an ignored id: it stands for what a part has no class for.
        epoch_scans: Training scans of an epoch, over all ranks; None for as many as there are.
        max_scans: Cap on the scans of each split of each data set, which takes the first ones; None for no cap.
        **settings: See `ScanDataModule`.

    Raises:
        UserError: A setting is invalid, or the data sets do not fit each other.
    """

    def __init__(
        self,
        parts: Mapping[str, Part | None],
        label_map: str | dict[str, Any] = "semantickitti",
        epoch_scans: Positive | None = None,
        max_scans: Positive | None = None,
        **settings: Any,
    ) -> None:
        target = load_label_map(label_map)
        if target.raw_to_train[target.unlabeled] != IGNORE_INDEX:
            raise UserError(
                f"data.label_map={target.name}: unlabeled: {target.unlabeled} is not among its ignored ids, and a "
                "mixture needs an id for points that a data set has no class for; add it to ignored"
            )
        if settings.get("train_scans") is not None:
            raise UserError("data.train_scans: a mixture draws by shares; set data.epoch_scans instead")
        self.epoch_scans = epoch_scans
        self.mixture = MixtureReader({n: part for n, part in parts.items() if part is not None}, target, max_scans)
        super().__init__(self.mixture, label_map, **settings)

    def order(self) -> Proportions | None:
        """Return the order of a training epoch."""
        parts = self.mixture.parts
        shares = [part.share for part in parts.values()]
        if self.epoch_scans is None and all(share is None for share in shares):
            return None
        names = [scan_id.partition("/")[0] for scan_id in self.dataset("fit").scan_ids]
        sizes = [names.count(name) for name in parts]
        weights = [size if share is None else share for size, share in zip(sizes, shares, strict=True)]
        return Proportions(sizes, weights, self.epoch_scans)
