"""Protocols: the sequences for training, validation and test."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from clusterseg.data.sequences import sequence_names
from clusterseg.errors import UserError

logger = logging.getLogger("clusterseg")

_TEST = tuple(range(11, 22))
PROTOCOLS: dict[str, dict[str, tuple[int, ...]]] = {
    "train": {"train": (0, 1, 2, 3, 4, 5, 6, 7, 9, 10), "val": (8,), "test": _TEST},
    # Trains on 08 too, so there is no validation and the last checkpoint counts.
    "trainval": {"train": tuple(range(11)), "val": (), "test": _TEST},
}


def choose_sequences(
    protocol: str, explicit: Mapping[str, Iterable[int | str] | int | None]
) -> dict[str, tuple[str, ...]]:
    """Return the sequence folders of the splits train, val and test.

    Args:
        protocol: A key of `PROTOCOLS`.
        explicit: Lists that replace the protocol's; None keeps the protocol's, an empty list means none.

    Raises:
        UserError: The protocol or a split is unknown, or a list is malformed.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"data.protocol={protocol}: no such protocol; choose one of {', '.join(PROTOCOLS)}")
    unknown = sorted(set(explicit) - {"train", "val", "test"})
    if unknown:
        raise UserError(f"data.sequences: unknown splits {unknown}; expected train, val, test")
    given = {split: entries for split, entries in explicit.items() if entries is not None}
    chosen = {
        split: sequence_names(given.get(split, default), f"data.sequences.{split}")
        for split, default in PROTOCOLS[protocol].items()
    }
    shared = sorted(set(chosen["train"]) & set(chosen["val"]))
    if shared:
        logger.warning("data.sequences: %s are trained and validated on: the validation is void", shared)
    return chosen
