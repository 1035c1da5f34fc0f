"""A headless Chromium that opens one page, takes its picture and tells what it asked the network for."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--virtual-time-budget=4000",
]


@dataclass(frozen=True)
class Shot:
    """What was seen.

    Attributes:
        image: (height, width, 3) in 0..1.
        text: The page after its scripts ran; empty unless asked for.
        requests: Web addresses that the page asked for.
    """

    image: np.ndarray
    text: str
    requests: list[str]


def open_page(page: Path, folder: Path, size: tuple[int, int], text: bool = False) -> Shot:
    """Open a page, once more for its text; skips the test where there is no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine: install it to test the pages (apt-get install chromium)")
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}"]
    log, picture = folder / "net.json", folder / "shot.png"
    run = partial(subprocess.run, capture_output=True, timeout=120, check=True)
    run([*command, f"--screenshot={picture}", f"--log-net-log={log}", page.as_uri()])
    dom = run([*command, "--dump-dom", page.as_uri()]).stdout.decode() if text else ""
    image = imread(picture)[..., :3]
    return Shot(image, dom, _page_requests(log))


def _page_requests(log: Path) -> list[str]:
    """Web addresses that the page asked for; the browser's own calls home have no initiator."""
    events = json.loads(log.read_text())["events"]
    asked = [event.get("params", {}) for event in events if "url" in event.get("params", {})]
    own = [p["url"] for p in asked if p.get("initiator") not in (None, "not an origin")]
    return [url for url in own if url.startswith(("http", "ws"))]
