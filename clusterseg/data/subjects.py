"""Subjects: the thing of the data set that a point belongs to, and its known mode, in one integer.

A subject is `scope << 24 | instance << 8 | mode + 1`, where the scope is a hash of what the reader's instance numbers
are unique in. It is the same in every scan and epoch, and things of two scans that are mixed stay apart. 0 is none.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from jaxtyping import Int64, Integer
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)
MODE_BITS = 8
MAX_MODES = 2**MODE_BITS - 1
_INSTANCE_BITS = 16
_INSTANCES = 2**_INSTANCE_BITS


def subjects_of(
    labels: Integer[np.ndarray, " points"], scope: str, modes: Mapping[int, int] | None
) -> Int64[np.ndarray, " points"]:
    """Return the subject of each point; 0 for a point without an instance.

    Args:
        labels: Raw labels with instance numbers in bits 16 to 31.
        scope: What the instance numbers are unique in, such as a sequence.
        modes: The mode of each instance number within its class, 0 to 254; None if the data has none.
    """
    first = (zlib.crc32(scope.encode()) >> 1) << _INSTANCE_BITS
    table = (first + np.arange(_INSTANCES, dtype=np.int64)) << MODE_BITS
    table[0] = 0
    if modes:
        numbers = np.fromiter(modes.keys(), np.int64, len(modes))
        table[numbers] += 1 + np.fromiter(modes.values(), np.int64, len(modes))
    return table.take((labels.astype(np.int64) >> _INSTANCE_BITS) & (_INSTANCES - 1))


def things_of(subjects: Array) -> Array:
    """Return the number of the thing, unique in the data set; 0 for none."""
    return subjects >> MODE_BITS


def modes_of(subjects: Array) -> Array:
    """Return the mode within the class; -1 for none."""
    return (subjects & MAX_MODES) - 1
