"""Write the page of all messages to users from the code that raises them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).parents[2] / "clusterseg"
ROOMS = {
    "commands": "Commands",
    "build": "Configurations and checkpoints",
    "config": "Settings",
    "data": "Data",
    "doctor": "The doctor",
    "predict": "Prediction and submission",
    "runs": "Run folders",
    "synthetic": "Streets",
    "sweeps": "Sweeps and studies",
    "backbone": "Networks",
    "cluster": "The head",
    "sparse": "The engine",
}
HEAD = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated page."""
    files.append(File.generated(config, "troubleshooting.md", content=page()))
    return files


def page() -> str:
    """Return the page as Markdown."""
    parts = [HEAD]
    rooms: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        room = ROOMS.get(inside.parts[0], "Everything else")
        rooms.setdefault(room, []).extend(messages(ast.parse(path.read_text(encoding="utf-8"))))
    for room in [*ROOMS.values(), "Everything else"]:
        found = sorted(dict.fromkeys(rooms.get(room, [])))
        if found:
            parts.append(f"## {room}\n")
            parts += [f"- `{text}`" if "`" not in text else f"- `` {text} ``" for text in found]
            parts.append("")
    return "\n".join(parts)


def messages(tree: ast.AST) -> Iterator[str]:
    """Yield the text of every `UserError` that is raised or made."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "UserError" and node.args:
            text = _text(node.args[0])
            if text.replace("…", "").strip(" :;,."):
                yield " ".join(text.split())


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return "…"
