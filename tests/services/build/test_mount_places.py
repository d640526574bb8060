"""Places of mounts: those that had to be made go again, with nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.build.mount_places import missing_places, remove_places
from services.containers.archives.root import PLACE, Root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """A tree of its own."""
    with Root(fd=os.open(tmp_path, PLACE | os.O_DIRECTORY)) as opened:
        yield opened


def test_what_is_missing(root: Root, tmp_path: Path) -> None:
    """Every directory on the way, deepest first; links are taken as inside the root."""
    (tmp_path / "there/is").mkdir(parents=True)
    (tmp_path / "abs").symlink_to("/there/not/x")
    (tmp_path / "out").symlink_to("../../../over")
    (tmp_path / "file").touch()
    found = missing_places(root, ["/there/is", "/there/a/b", "/abs", "/out", "/file"])
    assert set(found) == {"/there/a/b", "/there/not/x", "/there/a", "/there/not", "/over"}
    assert [place.count("/") for place in found] == [3, 3, 2, 2, 1]


def test_what_is_empty_goes(root: Root, tmp_path: Path) -> None:
    """Not what holds something, was replaced, or was there before; times stay."""
    (tmp_path / "there").mkdir()
    places = missing_places(root, ["/there/a/b", "/there/file", "/full/x", "/gone", "/link"])
    os.utime(tmp_path / "there", ns=(1, 2))
    (tmp_path / "there/a/b").mkdir(parents=True)
    (tmp_path / "there/file").touch()
    (tmp_path / "full/x").mkdir(parents=True)
    (tmp_path / "full/kept").write_text("")
    (tmp_path / "link").symlink_to("/there")
    os.utime(tmp_path / "there", ns=(10**9, 2 * 10**9))
    remove_places(root, places)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        *("full", "full/kept", "link", "there"),
    ]
    assert (tmp_path / "there").stat().st_mtime_ns == 2 * 10**9
    remove_places(root, places)


def test_a_file_with_content_stays(root: Root, tmp_path: Path) -> None:
    """A command that wrote to the place itself, past the mount, keeps it."""
    (tmp_path / "f").write_text("x")
    remove_places(root, ["/f"])
    assert (tmp_path / "f").read_text() == "x"
