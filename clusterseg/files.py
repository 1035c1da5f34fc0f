"""Atomic writing of files."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clusterseg.errors import UserError

_HERE = Path(__file__).resolve().parent
#: The configurations: part of the package where it is installed, beside it in a checkout.
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent / "conf"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` on success; create the folder.

    Raises:
        UserError: The file cannot be written.
    """
    temporary = path.with_name(temporary_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); choose a folder that you may write, on a disk with room"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def temporary_name(name: str, process: int | str | None = None) -> str:
    """Name of the temporary file of a process for a file; of this process if none is given.

    With the machine's name: on a disk that machines share, processes of two of them can have the same number.
    """
    this = f"{platform.node().replace('.', '_')}-{os.getpid()}"
    return f".{name}.{process or this}.tmp"


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file atomically, text as UTF-8.

    Raises:
        UserError: See `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
