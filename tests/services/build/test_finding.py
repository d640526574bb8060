"""What a COPY finds, hashes and copies: with --parents, without what --exclude says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.build.finding import find_sources, find_with_parents
from services.build.patterns import PathPatterns
from services.build.sources import copy_sources, hash_sources
from services.containers.archives.root import PLACE, Root
from services.containers.archives.unpack import Rules
from services.errors import InvalidParameter

FILES = ("top.txt", "x/a.txt", "x/a.md", "x/y/b.txt", "x/y/z/c.txt", "w/y/b.txt", "w/keep")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Root]:
    """A tree of files that hold their own names."""
    for name in FILES:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "source/x").chmod(0o711)
    (tmp_path / "source/link").symlink_to("/x")
    (tmp_path / "source/empty").mkdir()
    with Root(fd=os.open(tmp_path / "source", PLACE | os.O_DIRECTORY)) as root:
        yield root


def copied(source: Root, found: object, target: Path) -> list[str]:
    """The files and directories that come of it."""
    target.mkdir()
    with Root(fd=os.open(target, PLACE | os.O_DIRECTORY)) as root:
        copy_sources(source, found, root, "/", Rules())  # type: ignore[arg-type]
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir())


@pytest.mark.parametrize(
    ("patterns", "excludes", "files"),
    [
        (["x/a.txt"], [], ["x/a.txt"]),
        (["./x/./y/*.txt"], [], ["y/b.txt"]),
        (["/x/y/./z"], [], ["z/c.txt"]),
        (["x/**/*.txt"], [], ["x/a.txt", "x/y/b.txt", "x/y/z/c.txt"]),
        (["*/./y/b.txt"], [], ["y/b.txt"]),
        (["x/./a.*", "w/./keep"], [], ["a.md", "a.txt", "keep"]),
        (["x/y/."], [], ["x/y/b.txt", "x/y/z/c.txt"]),
        (["link/./y"], [], ["y/b.txt", "y/z/c.txt"]),
        (["x"], ["**/*.txt", "!x/y/z"], ["x/a.md", "x/y/z/c.txt"]),
        (["no*/file"], [], []),
        (["."], ["x", "w", "link"], ["top.txt"]),
    ],
)
def test_parents(
    source: Root, tmp_path: Path, patterns: list[str], excludes: list[str], files: list[str]
) -> None:
    """The way to a file is copied with it, from the pivot on."""
    found = find_with_parents(source, patterns, PathPatterns(excludes))
    assert copied(source, found, tmp_path / "target") == files


def test_parents_keep_their_permissions(source: Root, tmp_path: Path) -> None:
    """And directories on the way to nothing are not made."""
    copied(source, find_with_parents(source, ["x/y/b.txt", "w/n*"]), tmp_path / "target")
    assert (tmp_path / "target/x").stat().st_mode & 0o777 == 0o711
    assert not (tmp_path / "target/w").exists()


def test_what_is_not_wild_must_be_there(source: Root) -> None:
    """In the same words as without --parents."""
    for pattern in ("x/nope", "x/./nope", "nope/./x"):
        with pytest.raises(InvalidParameter, match=f"stat {pattern}: file does not exist"):
            find_with_parents(source, [pattern])


@pytest.mark.parametrize(
    ("patterns", "excludes", "files"),
    [
        (["x"], ["*.md", "y/z"], ["a.txt", "y/b.txt"]),
        (["x"], ["**/*.txt"], ["a.md"]),
        (["*.txt", "x/a*"], ["*.txt"], ["a.md"]),
        (["x", "w"], ["*"], []),
        (["x"], ["*", "!y/b.txt"], ["y/b.txt"]),
        (["x/y"], ["x"], ["b.txt", "z/c.txt"]),
    ],
)
def test_excludes(
    source: Root, tmp_path: Path, patterns: list[str], excludes: list[str], files: list[str]
) -> None:
    """Paths are from the directory that is named; a file's is its name."""
    found = find_sources(source, patterns, PathPatterns(excludes))
    assert copied(source, found, tmp_path / "target") == files


def test_what_is_not_copied_does_not_count(source: Root, tmp_path: Path) -> None:
    """And what is does."""

    def digest() -> str:
        return hash_sources(source, find_sources(source, ["x"], PathPatterns(["*.md"])))

    before = digest()
    (tmp_path / "source/x/a.md").write_text("other")
    assert digest() == before
    (tmp_path / "source/x/y/b.txt").write_text("other")
    assert digest() != before
