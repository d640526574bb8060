"""services.system.in_root: paths resolved inside a root."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.system.in_root import open_in_root

RENAMES = """
import os, sys
os.chdir(sys.argv[1])
open("first", "w").close()
print("up", flush=True)
while True:
    os.rename("first", "second")
    os.rename("second", "first")
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A tree with a file in `data/deep`, and links that point at it and out of the tree."""
    deep = tmp_path / "root" / "data" / "deep"
    deep.mkdir(parents=True)
    (deep / "file").write_text("one")
    (deep / "out").symlink_to("../../../../../data/deep/file")
    (tmp_path / "root" / "absolute").symlink_to("/data/deep/file")
    (tmp_path / "root" / "process").symlink_to("/proc/self/root")
    (tmp_path / "outside").write_text("not to be seen")
    opened = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def text(root: int, path: str) -> str:
    with open(open_in_root(root, path, os.O_RDONLY)) as file:
        return file.read()


@pytest.mark.parametrize("path", ["data/deep/file", "data/deep/out", "absolute", "../../absolute"])
def test_links_and_dots_stay_inside(root: int, path: str) -> None:
    """They mean what they mean to whoever has the tree as its root."""
    assert text(root, path) == "one"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("../outside", errno.ENOENT),
        ("process/etc/passwd", errno.ENOENT),
        ("data/deep/file/none", errno.ENOTDIR),
        ("a\0b", errno.EINVAL),
    ],
)
def test_nothing_outside_is_found(root: int, path: str, number: int) -> None:
    """The error is the kernel's."""
    with pytest.raises(OSError) as caught:  # its number is looked at
        open_in_root(root, path)
    assert caught.value.errno == number


def test_renames_elsewhere_on_the_host_fail_nothing(root: int, tmp_path: Path) -> None:
    """The kernel gives up on a `..` when anything is renamed meanwhile, and is asked again."""
    with renaming_without_end(tmp_path):
        for _ in range(2_000):
            os.close(open_in_root(root, "data/deep/../../data/deep/out"))


@contextmanager
def renaming_without_end(directory: Path) -> Iterator[None]:
    command = [sys.executable, "-c", RENAMES, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        try:
            yield
        finally:
            process.kill()
