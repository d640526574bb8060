"""What the documentation says can be found: generated pages, links, files, commands."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from supervisor.configuration.options import OPTIONS
from tests import configuration_doc
from tests.configuration_doc import IN_FILE, REMARKS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SOURCE = re.compile(r"`((?:services|supervisor|protos|tests|scripts)/[\w./-]+)`")
COMMAND = re.compile(r"(?:^|[\s`])(scripts/[\w.-]*\w)")

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def test_the_configuration_page_is_up_to_date() -> None:
    """What it says is what the table says; `scripts/gen-docs` writes it anew."""
    assert configuration_doc.PAGE.read_text() == configuration_doc.page()


def test_remarks_are_about_options_that_work() -> None:
    """One that stays after its option was refused or renamed would never be seen."""
    assert {flag for flag in REMARKS if flag not in OPTIONS or OPTIONS[flag].refused} == set()
    assert {option.kind for option in OPTIONS.values()} <= IN_FILE.keys()


@page
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link is a file of ours, and its fragment a heading of it."""
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if "://" in target:
            continue
        path, _, fragment = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if fragment:
            assert fragment in headings(found), target


@page
def test_files_and_commands_exist(page: Path) -> None:
    """A path of the source that is named is there; a command of scripts/ can be run."""
    text = page.read_text()
    for name in SOURCE.findall(text):
        assert (ROOT / name).exists(), name
    for name in COMMAND.findall(text):
        assert os.access(ROOT / name, os.X_OK), name


def test_the_index_leads_to_every_page() -> None:
    """Nothing in docs/ can be missed by who starts at the beginning."""
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text())}
    assert {path for path in PAGES if path.parent == index.parent} - {index} <= linked
    assert "(docs/index.md)" in (ROOT / "README.md").read_text()


def headings(path: Path) -> set[str]:
    """The fragments by which a page's headings can be linked to."""
    found = re.findall(r"^#+ +(.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}
