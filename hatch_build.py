"""Build hook: compiles the parts in C where a C compiler is. Without one the package works as well, more slowly.

`CC` names another compiler; `CLUSTERSEG_COMPILED=0` leaves them out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "clusterseg/compiled"
LIBRARY = "libclusterseg.so"
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", "-pthread")


class CompiledParts(BuildHookInterface[Any]):
    """Adds the library to a wheel; an editable install finds it in the source tree."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and name the platform in the wheel's tag if this was possible."""
        folder = Path(self.root, FOLDER)
        reason = build(folder)
        if reason is not None:
            self.app.display_warning(f"without the compiled parts for CPUs: {reason}")
            return
        build_data["artifacts"].append(f"{FOLDER}/{LIBRARY}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def build(folder: Path) -> str | None:
    """Compile the C files of a folder into the library beside them; return why not, or None."""
    library, made = folder / LIBRARY, folder / f"{LIBRARY}.{os.getpid()}"
    library.unlink(missing_ok=True)
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if os.environ.get("CLUSTERSEG_COMPILED") == "0":
        return "CLUSTERSEG_COMPILED=0"
    if os.name != "posix" or compiler is None:
        return "no C compiler (cc) found"
    sources = sorted(str(path) for path in folder.glob("*.c"))
    done = subprocess.run([compiler, *FLAGS, "-o", str(made), *sources], capture_output=True, text=True)
    if done.returncode:
        made.unlink(missing_ok=True)
        return f"{compiler} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    made.replace(library)
    return None
