"""Setting checks shared by several augmentations."""

from __future__ import annotations

from clusterseg.errors import UserError


def check_probability(key: str, name: str, value: float) -> None:
    """Raise a `UserError` unless the value lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise UserError(f"{key}.{name}: got {value}; expected a probability in [0, 1]")


def check_share(key: str, name: str, value: float) -> None:
    """Raise a `UserError` unless the value lies in [0, 1)."""
    if not 0 <= value < 1:
        raise UserError(f"{key}.{name}: got {value}; expected a share in [0, 1), so that something stays")


def check_not_negative(key: str, name: str, value: float) -> None:
    """Raise a `UserError` unless the value is 0 or more."""
    if not value >= 0:
        raise UserError(f"{key}.{name}: got {value}; expected 0 or more")


def check_positive(key: str, name: str, value: float) -> None:
    """Raise a `UserError` unless the value is above 0."""
    if not value > 0:
        raise UserError(f"{key}.{name}: got {value}; expected more than 0")
