"""What is to be known about the checkpoints of another project."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: The classifier in the names of mit-han-lab/spvnas.
CLASSIFIER = ("classifier.0.weight", "classifier.0.bias")


@dataclass(frozen=True)
class Project:
    """A project that publishes MinkUNet or SPVCNN.

    All four keep kernels as (offsets, inputs, outputs) and count the offsets as we do: only names differ. Those of
    mit-han-lab/spvnas, which the other networks descend from, stand in the middle.

    Attributes:
        title: Its name in messages.
        mark: A name that its files hold and no other's do.
        prefixes: Beginnings of its names, each with the beginning in the names of mit-han-lab/spvnas.
        wrapper: Entry of its files that holds the weights, or None where they hold nothing else.
        networks: The networks that it has: class, what the classifier reads, depth (None where a table says it).
        unlabeled_first: Whether class 0 is the ignored one and ours follow.
        idle_branch: Whether its MinkUNet, too, holds the point branch of SPVCNN, and never calls it.
    """

    title: str
    mark: str
    wrapper: str | None
    networks: frozenset[tuple[str, str, int | None]]
    prefixes: Mapping[str, str] = field(default_factory=dict)
    unlabeled_first: bool = False
    idle_branch: bool = False

    def wrapped_in(self, names: Iterable[str]) -> str | None:
        """What stands before the mark, as `module.`, or nothing; None where the names are not this project's."""
        for name in names:
            before = name.removesuffix(self.mark)
            if before != name and (not before or before.endswith(".")):
                return before
        return None

    def to_original(self, name: str) -> str:
        """The name in mit-han-lab/spvnas; one that the project does not use stays."""
        return renamed(name, self.prefixes)

    def from_original(self, name: str) -> str:
        """The project's name of a tensor of mit-han-lab/spvnas."""
        return renamed(name, {original: own for own, original in self.prefixes.items()})


def renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """Exchange the beginning of a name; no beginning in the table begins another one."""
    for given, wanted in prefixes.items():
        if name.startswith(given):
            return wanted + name.removeprefix(given)
    return name
