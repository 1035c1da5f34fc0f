"""Choose one remission scale for all files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from clusterseg.data.clouds import Layout, read_cloud
from clusterseg.data.clouds.remission import Spread, common_scale, describe, spread
from clusterseg.errors import UserError

log = logging.getLogger("clusterseg")
_PROBES = 8


def choose_remission_scale(files: Sequence[Path], setting: str | float, layout: Layout | None = None) -> float:
    """Choose the remission value that maps to 1 for all files, and log it.

    It is chosen from a few files spread over the list, so that it does not depend on where an interrupted run
    continues. Unreadable files are skipped here.

    Args:
        files: All input files.
        setting: A number, or `auto`.
        layout: How to read columns without names.

    Raises:
        UserError: The setting is invalid, or the scale is undecidable.
    """
    if setting != "auto":
        return check_remission(setting)
    if layout is not None and layout.remission_scale and all(file.suffix.lower() == ".bin" for file in files):
        log.info("remission: its scale is 0..%g by the setting format", layout.remission_scale)
        return layout.remission_scale
    probed = _probe(files, layout)
    spreads = {path: found for path, found in probed.items() if found is not None}
    if not spreads:
        if probed:
            log.warning("the files have no remission (intensity): 0 is used, and the network was trained with it")
        return 1.0
    scale = common_scale(spreads)
    if all(found.high == 0 for found in spreads.values()):
        log.warning("remission (intensity) is 0 in all files looked at, and the network was trained with it")
    elif scale != 1:
        log.info(describe(list(spreads.values()), scale))
        if min(found.low for found in spreads.values()) > scale / 4:
            log.warning("remission hardly varies; if a constant was added to it, subtract it in the files")
    return scale


def check_remission(setting: str | float) -> float:
    """Return the setting `remission` as a number.

    Raises:
        UserError: It is none above 0.
    """
    if isinstance(setting, bool) or not isinstance(setting, (int, float)) or not 0 < setting < float("inf"):
        raise UserError(f"remission={setting}: expected auto, or the value above 0 that means full reflection, as 255")
    return float(setting)


def _probe(files: Sequence[Path], layout: Layout | None) -> dict[Path, Spread | None]:
    """Statistics of a few files; unreadable ones are reported when they are predicted."""
    probed: dict[Path, Spread | None] = {}
    for i in np.unique(np.linspace(0, len(files) - 1, _PROBES).round().astype(int)):
        with suppress(UserError):
            probed[files[i]] = spread(read_cloud(files[i], layout))
    return probed
