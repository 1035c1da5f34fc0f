"""The command lines of README, CONTRIBUTING and docs, read as a shell would."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
#: A line that begins with one of these is a command.
PROGRAMS = ("clusterseg", "python", "python3", "make", "pip", "pytest", "pre-commit", "mkdocs", "torchrun", "sbatch")
_BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_SHELL = ("sh", "bash", "console")
_SCRIPTS = ("train", "evaluate", "predict")


@dataclass(frozen=True)
class Line:
    """A command line.

    Attributes:
        page: The page's path below the project.
        text: The line without its comment.
    """

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its words; `python train.py` is `clusterseg train`."""
        words = shlex.split(self.text)
        if words[0] == "python" and words[1].removesuffix(".py") in _SCRIPTS:
            words[:2] = ["clusterseg", words[1].removesuffix(".py")]
        return words

    @property
    def is_ours(self) -> bool:
        """Whether it is `clusterseg ...`."""
        return self.words[0] == "clusterseg"


@dataclass(frozen=True)
class Session:
    """Lines that a reader types one after the other in one folder: a block, or a command within a sentence."""

    page: str
    number: int
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"


def sessions() -> list[Session]:
    """All command lines of all pages, in their order."""
    found = []
    for page in PAGES:
        name, text = str(page.relative_to(ROOT)), page.read_text()
        blocks = (block_lines(body, language) for language, body in _BLOCK.findall(text))
        spans = ([span] for span in span_lines(_BLOCK.sub("", text)))
        groups = [tuple(Line(name, line) for line in lines) for lines in (*blocks, *spans) if lines]
        found += [Session(name, number, lines) for number, lines in enumerate(dict.fromkeys(groups), 1)]
    return found


def block_lines(body: str, language: str) -> list[str]:
    """The command lines of a fenced block; none if it shows something else, such as files."""
    lines = [line for line in logical_lines(body) if line]
    if language not in _SHELL and (language or not lines or lines[0].split()[0] not in PROGRAMS):
        return []
    return lines


def logical_lines(text: str) -> Iterator[str]:
    """Join what a backslash at the end of a line continues; drop comments and the shell's prompt."""
    pending = ""
    for physical in text.splitlines():
        pending += physical.strip() if pending else physical
        if pending.endswith("\\"):
            before = pending[:-1]
            assert before.count("'") % 2 == before.count('"') % 2 == 0, f"within quotes a backslash is text: {pending}"
            pending = before.rstrip() + " "
            continue
        yield re.split(r"(?:^|\s+)#", pending)[0].strip().removeprefix("$ ")
        pending = ""


def span_lines(text: str) -> Iterator[str]:
    """Commands within sentences; a command's name alone, as `clusterseg check`, is a mention."""
    for span in _SPAN.findall(text):
        words = span.split() or [""]
        given = [word for word in words if word != "..."]
        least = 2 if words[0] in ("clusterseg", "pip", "python") and not given[-1].startswith("-") else 1
        if words[0] in PROGRAMS and len(given) > least:
            yield " ".join(words)
