"""Generate the data set on disk atomically, by one process while others wait."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clusterseg.errors import UserError
from clusterseg.synthetic import layout
from clusterseg.synthetic.drive import write_drives
from clusterseg.synthetic.recipe import RECIPE_FILE, Recipe

_PARTIAL = ".partial"
_OLD = ".old"
_LOCK = ".lock"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def ensure_streets(root: Path | str, recipe: Recipe, workers: int = 1, quiet: bool = False) -> Path:
    """Return the data set of a recipe below a data folder; generate it on first use.

    Each recipe has a folder of its own, `root/streets-<hash>`, so that changed settings never meet old data.

    Args:
        root: The data folder.
        recipe: What it must hold.
        workers: Number of processes that generate; the bytes do not depend on it. More than one needs a script
            that guards its work by `if __name__ == "__main__"`, as all of Python's spawned processes do.
        quiet: No progress bar.

    Returns:
        The folder that holds `sequences`.

    Raises:
        UserError: As `write_streets`.
    """
    return write_streets(Path(root) / f"streets-{recipe.hash[:8]}", recipe, workers, quiet=quiet)


def write_streets(
    out: Path | str, recipe: Recipe, workers: int = 1, overwrite: bool = False, quiet: bool = False
) -> Path:
    """Generate a data set in exactly this folder, or reuse the one that is there.

    Scans are written to `out/.partial`, which becomes `out/sequences` by one rename when it is complete; whoever
    finds `out/sequences` therefore finds all of it. What a killed run left in `.partial` is used again if its
    recipe is the same. A lock, which the system releases when its holder dies, lets one process generate and makes
    the others wait and reuse.

    Args:
        out: The folder; made if it is missing.
        recipe: What it must hold.
        workers: Number of processes that generate.
        overwrite: Replace a data set of another recipe.
        quiet: No progress bar.

    Returns:
        `out`.

    Raises:
        UserError: The folder cannot be written, the disk is full, or it holds something else.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     out = write_streets(folder, Recipe(scans=1, sequences=(8,), beams=16, azimuths=60), quiet=True)
        ...     sorted(path.name for path in (out / "sequences/08").iterdir())
        ['calib.txt', 'labels', 'modes.json', 'poses.txt', 'times.txt', 'velodyne']
    """
    out = Path(out)
    try:
        if _complete(out, recipe):
            return out
        out.mkdir(parents=True, exist_ok=True)
        with _locked(out, quiet):
            if not _complete(out, recipe):
                _make_room(out, recipe, overwrite)
                _generate_or_clean_up(out, recipe, workers, quiet)
    except OSError as error:
        raise _explained(error, out, recipe) from error
    return out


def _complete(out: Path, recipe: Recipe) -> bool:
    """Whether `out` holds this data set. The recipe file is only trusted beside a renamed `sequences`."""
    present = (out / "sequences").is_dir() and (out / RECIPE_FILE).is_file()
    return present and recipe.differences(out / RECIPE_FILE) is None and _all_scans(out / "sequences", recipe)


def _all_scans(sequences: Path, recipe: Recipe) -> bool:
    for sequence in recipe.sequences:
        folder = sequences / f"{sequence:02d}" / "velodyne"
        names = set(os.listdir(folder)) if folder.is_dir() else set()
        if any(f"{i:06d}.bin" not in names for i in range(recipe.scans)):
            return False
    return True


def _make_room(out: Path, recipe: Recipe, overwrite: bool) -> None:
    """Refuse foreign files, set aside a data set to replace, and reuse or remove the remains of a killed run."""
    shutil.rmtree(out / _OLD, ignore_errors=True)
    if (out / "sequences").exists():
        marker = out / RECIPE_FILE
        if not marker.exists():
            raise UserError(
                f"{out}: holds a folder 'sequences' that was not generated here (no {RECIPE_FILE}); "
                "it is left alone: give another folder with out="
            )
        difference = recipe.differences(marker)
        if not overwrite:
            what = f"another data set: {difference}" if difference else "this data set, but scans are missing"
            raise UserError(f"{out}: holds {what}; give another folder with out=, or replace it with overwrite=true")
        os.rename(out / "sequences", out / _OLD)
        shutil.rmtree(out / _OLD)
    if (out / _PARTIAL).exists() and recipe.differences(out / RECIPE_FILE) is not None:
        shutil.rmtree(out / _PARTIAL)


def _generate_or_clean_up(out: Path, recipe: Recipe, workers: int, quiet: bool) -> None:
    """Generate, and remove the files again if the disk is full; called with the lock held."""
    try:
        have = sum(f.stat().st_size for f in (out / _PARTIAL).rglob("*") if f.is_file())
        if shutil.disk_usage(out).free < 0.7 * recipe.bytes_needed - have:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _generate(out, recipe, workers, quiet)
    except OSError as error:
        if error.errno in _FULL:
            shutil.rmtree(out / _PARTIAL, ignore_errors=True)
            (out / RECIPE_FILE).unlink(missing_ok=True)
        raise


def _generate(out: Path, recipe: Recipe, workers: int, quiet: bool) -> None:
    layout.write_atomically(out / RECIPE_FILE, recipe.to_json().encode())
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        bar = progress.add_task(f"streets -> {out}", total=recipe.scans * len(recipe.sequences))
        for count in write_drives(out / _PARTIAL, recipe, workers):
            progress.advance(bar, count)
    for stray in (out / _PARTIAL).rglob(".*"):
        stray.unlink()
    os.rename(out / _PARTIAL, out / "sequences")


@contextmanager
def _locked(out: Path, quiet: bool) -> Iterator[None]:
    """Hold the lock of a folder; the file stays, because removing it would let two processes hold it."""
    with open(out / _LOCK, "w") as lock:
        logged = quiet
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not logged:
                    Console(stderr=True).print(f"streets: another process is writing {out}; waiting for it")
                    logged = True
                time.sleep(0.2)
        yield


def _explained(error: OSError, out: Path, recipe: Recipe) -> UserError:
    """Turn an error into a message for the user."""
    if error.errno not in _FULL:
        return UserError(
            f"{error.filename or out}: {error.strerror or error}; expected a folder that can be written: "
            "give another one with out= or data.root="
        )
    megabytes = recipe.bytes_needed / 1e6
    return UserError(
        f"{out}: {error.strerror}: {recipe.scans} scans in each of {len(recipe.sequences)} sequences take about "
        f"{megabytes:.0f} MB; what was written is removed again: free some space, give another folder with out=, "
        "or ask for fewer scans or sequences"
    )
