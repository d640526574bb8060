"""services.observer.page: the files of the page and no others; what is vendored is locked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.observer.page import FOLDER, Page

ROOT = Path(__file__).parents[3]


async def test_the_page_and_its_files() -> None:
    """Each with its type; the empty name is the page."""
    page = Page()
    index = await page.file("")
    assert index is not None
    assert index.content_type == "text/html; charset=utf-8"
    assert index == await page.file("index.html")
    script = await page.file("main.js")
    assert script is not None
    assert script.content_type == "text/javascript; charset=utf-8"
    assert await page.file("vendor/uPlot.js") is not None


@pytest.mark.parametrize(
    "name", ["x", "../page.py", "vendor", "vendor/vendor.json", "vendor/../main.js", "/etc/passwd"]
)
async def test_other_names_lead_nowhere(name: str) -> None:
    """Names are looked up among those that there are, not on the disk."""
    assert await Page().file(name) is None


async def test_all_that_the_page_names_is_there() -> None:
    """Scripts, styles, pictures, and what scripts import."""
    page = Page()
    for path in FOLDER.glob("*.*"):
        text = path.read_text()
        named = re.findall(r'(?:src|href)="([^"]+)"', text) if path.suffix == ".html" else []
        named += re.findall(r'from "\./([^"]+)"', text) if path.suffix == ".js" else []
        for name in named:
            assert await page.file(name) is not None, (path.name, name)


def test_what_is_vendored_is_what_is_locked() -> None:
    """Files, hashes, and a licence for each package."""
    check = [sys.executable, str(ROOT / "scripts" / "vendor-web"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "MIT" in (FOLDER / "vendor" / "uPlot-LICENSE.txt").read_text()
