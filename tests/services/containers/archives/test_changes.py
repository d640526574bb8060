"""What a writable layer tells of changes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from services.containers.archives.changes import Change, ChangeKind, Trees, changes
from services.containers.archives.root import Root

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts are devices")


class Layers:
    """Two folders: an image and what lies above it."""

    def __init__(self, folder: Path) -> None:
        self.upper, self.lower = folder / "upper", folder / "lower"
        self.upper.mkdir()
        self.lower.mkdir()

    def delete(self, name: str) -> None:
        os.mknod(self.upper / name, stat.S_IFCHR, 0)

    def found(self, *, image: bool = True) -> list[tuple[str, str]]:
        told: list[Change] = []
        upper = os.open(self.upper, os.O_PATH | os.O_DIRECTORY)
        lower = os.open(self.lower, os.O_PATH | os.O_DIRECTORY)
        with Root(fd=upper, kept=(lower,)) as root:
            changes(Trees(upper=upper, lower=lower if image else None, merged=root), told.append)
        return [(change.path, change.kind.name[0]) for change in told]


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    return Layers(tmp_path)


def test_added_modified_deleted(layers: Layers) -> None:
    """By name, parents first; a directory changes with what is in it."""
    for name in ("d", "e"):
        (layers.lower / name).mkdir()
        (layers.upper / name).mkdir()
    (layers.lower / "d" / "old").write_text("1")
    (layers.upper / "d" / "old").write_text("22")
    (layers.lower / "gone").touch()
    layers.delete("gone")
    layers.delete("never-there")
    (layers.upper / "new").mkdir()
    (layers.upper / "new" / "file").touch()
    assert layers.found() == [
        ("/d", "M"),
        ("/d/old", "M"),
        ("/gone", "D"),
        ("/new", "A"),
        ("/new/file", "A"),
    ]


def test_a_copy_that_differs_in_nothing(layers: Layers) -> None:
    """A file may be in the layer only because somebody opened it."""
    for folder in (layers.lower, layers.upper):
        (folder / "same").write_text("x")
        os.utime(folder / "same", (5, 5))
        (folder / "mode").mkdir(mode=0o755)
    (layers.upper / "mode").chmod(0o700)
    assert layers.found() == [("/mode", "M")]


def test_a_directory_made_anew(layers: Layers) -> None:
    """It hides the image's: what only that one had is deleted, with all below it in one line."""
    (layers.lower / "d" / "deep").mkdir(parents=True)
    (layers.lower / "d" / "deep" / "er").touch()
    (layers.lower / "d" / "kept").touch()
    (layers.upper / "d").mkdir()
    (layers.upper / "d" / "kept").touch()
    os.utime(layers.upper / "d" / "kept", ns=(0, (layers.lower / "d/kept").stat().st_mtime_ns))
    os.setxattr(layers.upper / "d", "user.overlay.opaque", b"y")
    assert layers.found() == [("/d", "M"), ("/d/deep", "D")]


def test_a_directory_in_place_of_a_link(layers: Layers) -> None:
    """The image's link is not followed for what is below it."""
    (layers.lower / "l").symlink_to("/etc")
    (layers.upper / "l").mkdir()
    (layers.upper / "l" / "passwd").touch()
    assert layers.found() == [("/l", "M"), ("/l/passwd", "A")]


def test_what_a_start_makes_is_no_change(layers: Layers) -> None:
    """Places for mounts; but a file with something in it is somebody's."""
    (layers.upper / "etc").mkdir()
    (layers.upper / "etc" / "hosts").touch()
    (layers.upper / ".dockerenv").touch()
    (layers.upper / "proc").mkdir()
    (layers.upper / "etc" / "mtab").symlink_to("/proc/mounts")
    assert layers.found() == []
    (layers.upper / "etc" / "mtab").unlink()
    (layers.upper / "etc" / "mtab").symlink_to("/proc/self/m")
    assert layers.found(image=False) == [("/etc", "A"), ("/etc/mtab", "A")]
    (layers.upper / "etc" / "mtab").unlink()
    (layers.upper / "etc" / "hosts").write_text("mine")
    assert layers.found(image=False) == [("/etc", "A"), ("/etc/hosts", "A")]


def test_numbers_are_the_apis() -> None:
    """0, 1, 2 for C, A, D."""
    assert [int(kind) for kind in ChangeKind] == [0, 1, 2]
