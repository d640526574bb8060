"""Trees that clients describe: what is taken, what is refused, what is written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from services.buildkit import tree
from services.buildkit.tree import Entry, TreeData, TreePlan, read_entry
from services.errors import InvalidParameter

DIRECTORY, SYMLINK, FIFO = 1 << 31, 1 << 27, 1 << 25


def entry(path: str, mode: int = 0o644, link: str = "") -> Entry:
    return read_entry(path, mode, 1, 1_500_000_000_123_456_789, link)


def test_a_tree_is_written(tmp_path: Path) -> None:
    """Modes, times, links, other names of one file; a directory that nobody may write to."""
    plan = TreePlan()
    for one in (
        entry("d", DIRECTORY | 0o555),
        entry("d/f", 0o640),
        entry("d/same", 0o640, "d/f"),
        entry("link", SYMLINK | 0o777, "/etc/passwd"),
        entry("pipe", FIFO | 0o600),
        entry("set", 1 << 23 | 0o755),
    ):
        plan.add(one)
    plan.make(tmp_path)
    data = TreeData(plan, tmp_path)
    data.write([(1, b"one "), (5, b"x"), (5, b""), (1, b"two"), (1, b"")])
    data.close()
    plan.finish(tmp_path)
    assert (tmp_path / "d/f").read_bytes() == b"one two"
    assert (tmp_path / "d/same").stat().st_ino == (tmp_path / "d/f").stat().st_ino
    assert os.readlink(tmp_path / "link") == "/etc/passwd"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("d", "d/f", "set")}
    assert modes == {"d": 0o555, "d/f": 0o640, "set": 0o4755}
    for name in ("d", "d/f", "link"):
        assert (tmp_path / name).lstat().st_mtime_ns == 1_500_000_000_123_456_789


@pytest.mark.parametrize(
    "path", ["", "/etc", "..", "../x", "a/../b", "a//b", "./a", "a/", "a/.", "a\0b", "x" * 5000]
)
def test_names_that_are_none(path: str) -> None:
    """Nothing but clean names below the directory."""
    with pytest.raises(InvalidParameter, match="no name of a file"):
        entry(path)


@pytest.mark.parametrize(
    "kind", [1 << 26, 1 << 26 | 1 << 21, 1 << 24, 1 << 21, DIRECTORY | SYMLINK]
)
def test_kinds_that_no_context_has(kind: int) -> None:
    """Devices, sockets, and what is two things at once."""
    with pytest.raises(InvalidParameter, match="device or a socket"):
        entry("x", kind | 0o600)


@pytest.mark.parametrize(
    ("before", "bad"),
    [
        ([], entry("d/f")),
        ([entry("d")], entry("d/f")),
        ([entry("d", SYMLINK, "/etc")], entry("d/f")),
        ([entry("f")], entry("f")),
        ([entry("f", SYMLINK, "x")], entry("f")),
        ([], entry("f", 0o644, "other")),
        ([entry("other", SYMLINK, "/etc/passwd")], entry("f", 0o644, "other")),
    ],
)
def test_entries_without_a_place(before: list[Entry], bad: Entry) -> None:
    """Each is in a directory that came before, is new, and another name only of a file."""
    plan = TreePlan()
    for one in before:
        plan.add(one)
    with pytest.raises(InvalidParameter):
        plan.add(bad)


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number has a bound, and so have their names."""
    monkeypatch.setattr(tree, "MAX_ENTRIES", 3)
    plan = TreePlan()
    for number in range(3):
        plan.add(entry(f"f{number}"))
    with pytest.raises(InvalidParameter, match="more than 3 files"):
        plan.add(entry("f3"))
    monkeypatch.setattr(tree, "MAX_ENTRIES", 1000)
    monkeypatch.setattr(tree, "MAX_NAMES_BYTES", 10)
    with pytest.raises(InvalidParameter):
        plan.add(entry("f" * 10))
