"""Checks types and shapes of every call in the package while the tests run; an int serves as a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
