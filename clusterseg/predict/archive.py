"""Contents of a submission, a zip file or a folder."""

from __future__ import annotations

import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path, PurePosixPath

from clusterseg.errors import UserError


class Members(ABC):
    """The files and folders of a submission.

    Attributes:
        path: The zip file or folder.
        sizes: Size of each file in bytes, by its path inside.
        folders: Paths of the folders inside, each with a trailing slash.
    """

    path: Path
    sizes: dict[str, int]
    folders: set[str]

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            UserError: It is damaged.
        """


class FolderMembers(Members):
    """A folder that holds `sequences`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        found = {entry.relative_to(path).as_posix(): entry for entry in sorted(path.rglob("*"))}
        self.sizes = {name: entry.stat().st_size for name, entry in found.items() if entry.is_file()}
        self.folders = {f"{name}/" for name, entry in found.items() if entry.is_dir()}

    def read(self, name: str) -> bytes:
        """Read a file."""
        return (self.path / name).read_bytes()


class ZipMembers(Members):
    """A zip file, checked for defects that make it unreadable or unsafe to unpack.

    Raises:
        UserError: It is no zip file, truncated or encrypted, lists a file twice, or has a path that points outside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix != ".zip":
            raise UserError(f"{path}: the server takes a .zip only, this ends with {path.suffix!r}; pack it as one")
        with open(path, "rb") as file:
            magic = file.read(2)
        if magic != b"PK":
            raise UserError(f"{path}: not a zip file; pack the folder `sequences` with zip")
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile:
            raise UserError(f"{path}: cut short, its table of contents is missing; pack or copy it again") from None
        infos = self._archive.infolist()
        if any(info.flag_bits & 1 for info in infos):
            raise UserError(f"{path}: encrypted, the server cannot read it; pack it without a password")
        doubles = sorted(name for name, times in Counter(info.filename for info in infos).items() if times > 1)
        if doubles:
            raise UserError(f"{path}: {doubles[0]} is inside more than once; pack each file once")
        for info in infos:
            parts = PurePosixPath(info.filename).parts
            if info.filename.startswith("/") or ".." in parts or "\\" in info.filename:
                raise UserError(f"{path}: {info.filename!r} would land outside the folder; use plain relative paths")
        self.sizes = {info.filename: info.file_size for info in infos if not info.is_dir()}
        self.folders = {info.filename for info in infos if info.is_dir()}

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            UserError: Its checksum is wrong.
        """
        try:
            return self._archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise UserError(f"{self.path}: {name} is damaged inside the zip ({error}); pack it again") from None
