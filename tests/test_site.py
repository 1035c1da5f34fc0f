"""The site builds without a warning, loads nothing from elsewhere, and its page of messages is the code's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    sources = [path for pattern in ("*.md", "notebooks/*.ipynb") for path in (ROOT / "docs").glob(pattern)]
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in sources}
    assert {page for page in pages if not (site / page).is_file()} == set()


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text())
        assert [url for url in loaded if "canonical" not in url] == [], page.name


def test_the_page_of_messages_has_those_of_the_code(site: Path) -> None:
    text = (site / "troubleshooting.html").read_text()
    assert "a sequence is listed twice; list each one once" in text
    assert text.count("<li>") > 200


def test_the_reference_shows_signatures_and_examples(site: Path) -> None:
    text = (site / "reference.html").read_text()
    assert 'id="clusterseg.load"' in text and "best.ckpt" in text and "Raises" in text
