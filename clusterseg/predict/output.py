"""The output folder of predictions; only files written by a prediction are changed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clusterseg.errors import UserError
from clusterseg.files import temporary_name
from clusterseg.predict.claim import Claim, only_one
from clusterseg.predict.record import RECORD, update_record, written_files

_TEMPORARY = re.compile(r"\.(.+)\.(?:[^.]*-)?(\d+)\.tmp")


class OutputFolder:
    """The output folder of one run.

    Args:
        path: The folder.
        inputs: The input files, which are never written.
        targets: The files to write.
    """

    def __init__(self, path: Path, inputs: Iterable[Path], targets: Iterable[Path]) -> None:
        self.path = path
        self.inputs = list(inputs)
        self.targets = list(targets)
        self._ours: set[Path] = {target for target in self.targets if os.path.lexists(target)}

    @contextmanager
    def claimed(self, used: dict[str, Any]) -> Iterator[None]:
        """Claim the files for this process and record the files to write with their settings.

        Raises:
            UserError: A file to be written is an input or was not written by a prediction, another process writes
                it, or the folder holds predictions made with other settings.
        """
        claim = Claim(self.path, {target.relative_to(self.path).as_posix() for target in self.targets})
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with only_one(self.path):
                self._refuse_foreign()
                claim.take()
                update_record(self.path, used, claim.names, claim.is_alone)
                self._remove_leftovers()
                self._ours = {target for target in self.targets if target.is_file()}
        except OSError as error:
            claim.release()
            raise UserError(
                f"output={self.path}: cannot be written ({error.strerror}); choose another folder"
            ) from None
        except UserError:
            claim.release()
            raise
        try:
            yield
        finally:
            claim.release()

    def write(self, target: Path, content: bytes) -> None:
        """Write a file atomically; never replace a file that another program has created.

        Raises:
            UserError: Such a file exists, or the file cannot be written.
        """
        temporary = target.with_name(temporary_name(target.name))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            self.put(temporary, target)
        except OSError as error:
            raise UserError(
                f"{target}: cannot be written ({error.strerror}); choose a folder that you may write, on a disk with "
                "room"
            ) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def put(self, temporary: Path, target: Path) -> None:
        """Give a finished temporary file its name; never replace a file that another program has created.

        Raises:
            UserError: Such a file exists.
            OSError: The file cannot be written.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if target in self._ours:
                os.replace(temporary, target)
            else:
                _put(temporary, target)
        except FileExistsError:
            raise UserError(f"{target}: another program wrote it meanwhile; choose another output folder") from None

    def _refuse_foreign(self) -> None:
        read = {_identity(path) for path in self.inputs}
        ours = written_files(self.path)
        for target in self.targets:
            if not os.path.lexists(target):
                continue
            if _identity(target) in read:
                raise UserError(f"{target} is an input and would be written over; choose another output folder")
            if os.path.join(os.path.realpath(self.path), target.relative_to(self.path)) not in ours:
                raise UserError(
                    f"{target} is there already and was not written by predict.py; choose another output folder, "
                    "or move that file away"
                )

    def _remove_leftovers(self) -> None:
        """Remove partial files that killed runs left of this run's files; no live run writes them."""
        written: dict[Path, set[str]] = {self.path: {RECORD}}
        for target in self.targets:
            written.setdefault(target.parent, set()).add(target.name)
        for folder, names in written.items():
            if not folder.is_dir():
                continue
            for entry in list(os.scandir(folder)):
                found = _TEMPORARY.fullmatch(entry.name)
                if found and found[1] in names and entry.is_file(follow_symlinks=False):
                    os.unlink(entry.path)


def _identity(path: Path) -> tuple[int, int] | str:
    """Identity of a file, equal for all its names and links."""
    try:
        status = path.stat()
    except OSError:
        return os.path.abspath(path)
    return status.st_dev, status.st_ino


def _put(temporary: Path, target: Path) -> None:
    """Link a finished temporary file to its name; unlike a rename this fails if the name exists."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        os.replace(temporary, target)
