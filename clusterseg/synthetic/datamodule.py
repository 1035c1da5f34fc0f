"""Streets as a LightningDataModule: generated on first use, then read like any SemanticKITTI folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from clusterseg.data.datamodule import SemanticKittiDataModule
from clusterseg.data.sequences import holds_sequences
from clusterseg.synthetic.dataset import ensure_streets
from clusterseg.synthetic.recipe import Recipe


class StreetsDataModule(SemanticKittiDataModule):
    """Synthetic scans in the protocols of SemanticKITTI.

    Several ranks may start at once: one generates, the others wait. The same recipe is generated once per folder.

    Args:
        root: Folder under which each recipe has its own data set; or one that holds sequences already, which are read
            as they are, so that a network trained on streets can be scored on real scans.
        recipe: Settings of :class:`clusterseg.synthetic.recipe.Recipe` by name.
        recipe_workers: Processes that generate; the bytes do not depend on it.
        **settings: As :class:`clusterseg.data.datamodule.SemanticKittiDataModule`.

    Raises:
        UserError: A setting is wrong, or the folder cannot be written.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        recipe: Mapping[str, Any] | None = None,
        recipe_workers: int = 1,
        **settings: Any,
    ) -> None:
        if not holds_sequences(root):
            root = ensure_streets(os.fspath(root), Recipe.of(**dict(recipe or {})), workers=recipe_workers)
        super().__init__(root, **settings)
