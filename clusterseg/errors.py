"""The exception for mistakes that a user can correct."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in the input or the configuration, reported in one message without a traceback.

    The message names the file or config key, what was found, what was expected, and the remedy.

    Examples:
        >>> import clusterseg
        >>> try:
        ...     clusterseg.load("nowhere.ckpt")
        ... except clusterseg.UserError as error:
        ...     print(error)
        ckpt=nowhere.ckpt: no such file; give the path of a checkpoint, as RUN/checkpoints/best.ckpt, or streets
    """


def error_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its kind if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
