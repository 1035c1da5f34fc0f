"""Description of the checkpoints of another project."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: The classifier in the names of mit-han-lab/spvnas.
CLASSIFIER = ("classifier.0.weight", "classifier.0.bias")


@dataclass(frozen=True)
class Project:
    """A project that publishes MinkUNet or SPVCNN.

    All four store kernels as (offsets, inputs, outputs) in our order of offsets: only names differ. Those of
    mit-han-lab/spvnas, from which the other networks are derived, are the intermediate names.

    Attributes:
        title: Its name in messages.
        mark: A tensor name that only its files contain.
        prefixes: Name prefixes, each with its prefix in mit-han-lab/spvnas.
        wrapper: Entry of its files that holds the weights, or None if they hold nothing else.
        networks: Its networks: class, input of the classifier, depth (None if a table defines it).
        unlabeled_first: Whether class 0 is the ignored one and ours follow.
        idle_branch: Whether its MinkUNet also holds the point branch of SPVCNN, without calling it.
    """

    title: str
    mark: str
    wrapper: str | None
    networks: frozenset[tuple[str, str, int | None]]
    prefixes: Mapping[str, str] = field(default_factory=dict)
    unlabeled_first: bool = False
    idle_branch: bool = False

    def wrapped_in(self, names: Iterable[str]) -> str | None:
        """Return the prefix of the mark, such as `module.`, or an empty one; None for another project's names."""
        for name in names:
            before = name.removesuffix(self.mark)
            if before != name and (not before or before.endswith(".")):
                return before
        return None

    def to_original(self, name: str) -> str:
        """Return the name in mit-han-lab/spvnas; unknown names stay."""
        return renamed(name, self.prefixes)

    def from_original(self, name: str) -> str:
        """Return the project's name of a tensor of mit-han-lab/spvnas."""
        return renamed(name, {original: own for own, original in self.prefixes.items()})


def renamed(name: str, prefixes: Mapping[str, str]) -> str:
    """Replace the prefix of a name; no prefix in the table is a prefix of another."""
    for given, wanted in prefixes.items():
        if name.startswith(given):
            return wanted + name.removeprefix(given)
    return name
