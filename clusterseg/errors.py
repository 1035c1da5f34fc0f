"""The exception for mistakes that a user can correct."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in the input or the configuration, reported in one message without a traceback.

    The message names the file or config key, what was found, what was expected, and the remedy.
    """


def error_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its kind if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
