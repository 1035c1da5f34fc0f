"""Parse numbers written as text."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float64

from clusterseg.errors import UserError


def parse_numbers(text: bytes) -> tuple[Float64[np.ndarray, " numbers"], str]:
    """Parse numbers separated by white space, including `nan` and `inf`.

    Returns:
        The numbers before the first invalid word, and the start of that word; empty if all are numbers.
    """
    if not text.strip():
        return np.empty(0), ""
    if b"\0" in text:
        raise UserError("holds zero bytes where numbers as text are expected; the file is damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text, np.float64, sep=" "), ""
        except (DeprecationWarning, ValueError):  # numpy stopped before the end
            return _parse_word_by_word(text)


def _parse_word_by_word(text: bytes) -> tuple[Float64[np.ndarray, " numbers"], str]:
    words = text.split()
    values = np.empty(len(words))
    for i, word in enumerate(words):
        try:
            values[i] = float(word)
        except ValueError:
            return values[:i].copy(), word[:20].decode("ascii", "replace")
    return values, ""
