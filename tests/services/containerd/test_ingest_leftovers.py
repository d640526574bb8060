"""Folders of ingests that containerd has left behind, beside those that it has under way."""

from __future__ import annotations

import os
import time
from pathlib import Path

from services.containerd.ingest_leftovers import SAFE_AGE_S, remove_nameless


def make(root: Path, name: str, *files: str, age_s: float = 2 * SAFE_AGE_S) -> Path:
    """A folder of an ingest as containerd makes them, last changed `age_s` seconds ago."""
    folder = root / "ingest" / name
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_text("x")
    os.utime(folder, (time.time() - age_s,) * 2)
    return folder


def test_old_ones_without_a_name_go(tmp_path: Path) -> None:
    """What the collector and a leaving client leave goes, however much of it there is."""
    left = make(tmp_path, "left", "updatedat")
    cut = make(tmp_path, "cut", "data", "startedat", "total", "updatedat")
    empty = make(tmp_path, "empty")
    assert remove_nameless(tmp_path) == 3
    assert [one.exists() for one in (left, cut, empty)] == [False] * 3


def test_what_may_be_under_way_stays(tmp_path: Path) -> None:
    """An ingest with its name stays however old, and one without while it may be being begun."""
    named = make(tmp_path, "named", "ref", "data", age_s=1e7)
    young = make(tmp_path, "young", "updatedat", age_s=SAFE_AGE_S / 2)
    assert remove_nameless(tmp_path) == 0
    assert sorted(os.listdir(named)) == ["data", "ref"]
    assert os.listdir(young) == ["updatedat"]


def test_what_is_not_understood_stays(tmp_path: Path) -> None:
    """A folder with a folder in it is none of containerd's; it is no hindrance for others."""
    strange = make(tmp_path, "strange")
    (strange / "more").mkdir()
    os.utime(strange, (0, 0))
    left = make(tmp_path, "left", "updatedat")
    assert remove_nameless(tmp_path) == 1
    assert [one.exists() for one in (strange, left)] == [True, False]
