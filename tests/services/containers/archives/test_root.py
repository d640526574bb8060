"""Paths inside a tree: whatever links say, nothing outside is reached."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.containers.archives.root import Root
from services.containers.archives.stat import absolute, base_name, followed, stat_path

NAMES = st.sampled_from(["a", "b", "c", "..", ".", "outside"])
PATHS = st.builds("/".join, st.lists(NAMES, min_size=1, max_size=5))
TARGETS = st.builds(lambda head, path: head + path, st.sampled_from(["", "/", "../../../"]), PATHS)
TREES = st.lists(st.tuples(PATHS, st.one_of(st.none(), TARGETS)), max_size=8)


@contextmanager
def tree(entries: list[tuple[str, str | None]]) -> Iterator[Path]:
    """A folder with directories (None) and links in it, and beside it what must not be reached."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder, "top", "in")
        top.mkdir(parents=True)
        Path(folder, "outside").write_text("secret")
        Path(folder, "top", "outside").write_text("secret")
        for name, target in entries:
            path = Path(os.path.normpath(f"/{name}").lstrip("/") or "x")
            with suppress(OSError):
                # Made without following anything: the folders above are made for real.
                where = top / path
                if any(parent.is_symlink() for parent in where.parents):
                    continue
                where.parent.mkdir(parents=True, exist_ok=True)
                if target is None:
                    where.mkdir()
                else:
                    where.symlink_to(target)
        yield top


@contextmanager
def opened(top: Path) -> Iterator[Root]:
    with Root(fd=os.open(top, os.O_PATH | os.O_DIRECTORY)) as root:
        yield root


@given(entries=TREES, path=TARGETS, follow=st.booleans())
def test_nothing_leads_out(entries: list[tuple[str, str | None]], path: str, follow: bool) -> None:
    """A path is refused, or it is one inside; dots and links, absolute or not, change nothing."""
    with tree(entries) as top, opened(top) as root, suppress(OSError):
        with root.opened(path, follow=follow) as found:
            real = os.readlink(f"/proc/self/fd/{found}")
        assert real == str(top) or real.startswith(f"{top}/")


@given(entries=TREES, path=TARGETS)
def test_followed_is_what_the_kernel_finds(
    entries: list[tuple[str, str | None]], path: str
) -> None:
    """Where a path leads by our reading is where it leads by the kernel's."""
    with tree(entries) as top, opened(top) as root:
        try:
            with root.opened(path) as found:
                real = os.readlink(f"/proc/self/fd/{found}")
        except OSError:
            return
        with suppress(OSError):  # more links than we follow
            assert followed(root, path) == (real.removeprefix(str(top)) or "/")


@given(entries=TREES, path=TARGETS)
def test_stat_tells_of_links_and_ends(entries: list[tuple[str, str | None]], path: str) -> None:
    """Circles end, and a link's target is an absolute path without dots."""
    with tree(entries) as top, opened(top) as root, suppress(OSError):
        found = stat_path(root, absolute(path))
        assert found.is_link == bool(found.link_target)
        assert ".." not in found.link_target.split("/")


def test_links_of_the_kernel_are_not_followed(tmp_path: Path) -> None:
    """A descriptor's link in /proc would lead anywhere."""
    with opened(Path("/proc/self")) as root, pytest.raises(OSError, match="symbolic"):
        root.open(f"fd/{root.fd}")


@pytest.mark.parametrize(
    ("path", "made", "name"),
    [
        ("/etc/passwd", "/etc/passwd", "passwd"),
        ("etc/../etc", "/etc", "etc"),
        ("/", "/", "/"),
        (".", "/.", "."),
        ("/etc/.", "/etc/.", "."),
        ("/etc/", "/etc/", "etc"),
        ("/bin/..", "/", "/"),
        ("/../../x", "/x", "x"),
        ("//x", "/x", "x"),
        ("a//b/./", "/a/b/", "b"),
    ],
)
def test_clients_paths(path: str, made: str, name: str) -> None:
    """As Go cleans them, with what means something at the end."""
    assert (absolute(path), base_name(made)) == (made, name)
