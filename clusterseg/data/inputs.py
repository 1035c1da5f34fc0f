"""Input specification of a network: features, voxel size, classes. It is stored in each checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clusterseg.data.label_map import LabelMap, load_label_map
from clusterseg.data.reader import Reader
from clusterseg.data.voxelize import VOXEL_SIZE


@dataclass(frozen=True, eq=False)
class Inputs:
    """Input specification of a network.

    Attributes:
        features: Names of the input channels; the first three are x, y, z.
        voxel_size: Edge of a voxel in metres.
        label_map: The classes.
    """

    features: tuple[str, ...]
    voxel_size: float
    label_map: LabelMap

    def plain(self) -> dict[str, Any]:
        """Return the specification as plain values, for a checkpoint."""
        return {"features": list(self.features), "voxel_size": self.voxel_size, "label_map": self.label_map.table}

    @classmethod
    def of_checkpoint(cls, checkpoint: Mapping[str, Any]) -> Inputs:
        """Read the specification of a checkpoint; a checkpoint without one names its label map.

        Raises:
            UserError: The label map is unknown or malformed.
        """
        found = checkpoint.get("inputs") or checkpoint["config"].get("data") or {}
        return cls(
            tuple(found.get("features", Reader.features)),
            float(found.get("voxel_size", VOXEL_SIZE)),
            load_label_map(found.get("label_map", "semantickitti")),
        )
