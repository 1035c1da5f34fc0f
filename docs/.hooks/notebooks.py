"""Write a page of each notebook, with what its cells print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).parents[1] / "notebooks"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page(path)))
    return files


def page(path: Path) -> str:
    """Return a notebook as Markdown; the file itself is linked below its title."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title, *parts = [part for cell in cells for part in _parts(cell)]
    heading, _, rest = title.partition("\n")
    return "\n\n".join([heading, f"[This page as a notebook]({path.name})", rest.strip(), *parts]) + "\n"


def _parts(cell: dict[str, Any]) -> list[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    language = "sh" if source.startswith("!") else "python"
    printed = "".join("".join(output.get("text", [])) for output in cell["outputs"])
    return [
        f"```{language}\n{source.removeprefix('!')}\n```",
        *([f"```text\n{printed.rstrip()}\n```"] if printed else []),
    ]
