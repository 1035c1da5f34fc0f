"""Streets as a LightningDataModule: generated on first use, then read like any SemanticKITTI folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.data.sequences import holds_sequences
from clusterseg.synthetic.generate import ensure_streets
from clusterseg.synthetic.labels import CLASSES
from clusterseg.synthetic.modes import MODES_FILE, mode_names, read_modes
from clusterseg.synthetic.recipe import Recipe


class StreetsReader(SemanticKittiReader):
    """Reads streets, and generates them when their scans are first listed.

    Several ranks may start at once: one generates, the others wait. The same recipe is generated once per folder.

    Args:
        root: Folder under which each recipe has its own data set; or one that holds sequences already, which are read
            as they are, so that a network trained on streets can be scored on real scans.
        recipe: Settings of `clusterseg.synthetic.recipe.Recipe` by name.
        recipe_workers: Processes that generate; the bytes do not depend on it.
        protocol: See `SemanticKittiReader`.
        sequences: See there.
        window: See there.

    Raises:
        UserError: A setting is wrong.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        recipe: Mapping[str, Any] | None = None,
        recipe_workers: int = 1,
        protocol: str = "train",
        sequences: Mapping[str, Iterable[int | str] | int | None] | None = None,
        window: int = 1,
    ) -> None:
        super().__init__(root, protocol, sequences, window)
        self.recipe = Recipe.of(**dict(recipe or {}))
        self.workers = recipe_workers
        self._modes: dict[Path, dict[int, int] | None] = {}

    def scans(self, split: str) -> Sequence[str]:
        """List the scans of a split; see `SemanticKittiReader.scans`.

        Raises:
            UserError: The streets cannot be written, or a sequence is missing.
        """
        self._generate()
        return super().scans(split)

    def unchecked(self, split: str) -> Sequence[str]:
        """List the scans of a split without checks; see `SemanticKittiReader.unchecked`.

        Raises:
            UserError: The streets cannot be written, or a sequence is missing.
        """
        self._generate()
        return super().unchecked(split)

    def _generate(self) -> None:
        if not holds_sequences(self.root):
            self.root = ensure_streets(os.fspath(self.root), self.recipe, workers=self.workers)

    def modes(self, scan_id: str) -> Mapping[int, int] | None:
        """Return the shape that each instance was drawn as."""
        sequence = Path(self.source(scan_id)).parents[1]
        if sequence not in self._modes:
            known = (sequence / MODES_FILE).is_file()
            entries = read_modes(sequence).items() if known else ()
            self._modes[sequence] = {instance: mode for instance, (_, mode) in entries} if known else None
        return self._modes[sequence]

    def mode_names(self) -> Mapping[str, Sequence[str]]:
        """Return the shapes of each class."""
        return {name: mode_names(raws[0]) for name, raws in CLASSES.items()}


class StreetsDataModule(ScanDataModule):
    """Synthetic scans in the protocols of SemanticKITTI.

    Args:
        root: See `StreetsReader`.
        recipe: See there.
        recipe_workers: See there.
        protocol: See there.
        sequences: See there.
        label_map: See `ScanDataModule`.
        window: See `SemanticKittiReader`.
        **settings: See there.

    Raises:
        UserError: A setting is wrong.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        recipe: Mapping[str, Any] | None = None,
        recipe_workers: int = 1,
        protocol: str = "train",
        sequences: Mapping[str, Iterable[int | str] | int | None] | None = None,
        label_map: str | dict[str, Any] = "semantickitti",
        window: Annotated[int, Field(ge=1)] = 1,
        **settings: Any,
    ) -> None:
        reader = StreetsReader(root, recipe, recipe_workers, protocol, sequences, window)
        super().__init__(reader, label_map, **settings)
