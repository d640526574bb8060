"""services.volumes.copy_tree: a copy is the same in all that can be seen, and stays inside."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from services.volumes import copy_tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")


def run(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """The program, as the engine starts it."""
    opened = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, target)]
    try:
        return subprocess.run(
            [sys.executable, "-I", "-S", copy_tree.__file__, *map(str, opened)],
            pass_fds=opened,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        for one in opened:
            os.close(one)


def shown(top: Path) -> dict[str, tuple[object, ...]]:
    """What can be seen of every file below `top`, by its path."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        state = path.lstat()
        kind = stat.S_IFMT(state.st_mode)
        content: object = b""
        if kind == stat.S_IFREG:
            content = path.read_bytes()
        elif kind == stat.S_IFLNK:
            content = path.readlink()
        links = state.st_nlink if kind != stat.S_IFDIR else 0
        attributes = [] if kind == stat.S_IFLNK else sorted(os.listxattr(path))
        found[str(path.relative_to(top))] = (
            *(state.st_mode, state.st_uid, state.st_gid, state.st_rdev, links),
            *(state.st_mtime_ns, content, attributes),
        )
    return found


def test_everything_is_kept(tmp_path: Path) -> None:
    """Owners, modes, times, links of both kinds, pipes, devices, attributes, the top's own."""
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep/er").mkdir(parents=True)
    target.mkdir()
    (source / "file").write_bytes(b"x" * 100_000)
    (source / "empty").touch()
    (source / "file").chmod(0o4751)
    os.chown(source / "file", 1234, 4321)
    os.link(source / "file", source / "deep/er/same")
    (source / "link").symlink_to("/etc/passwd")
    os.lchown(source / "link", 5, 6)
    (source / "dangling").symlink_to("nowhere")
    os.mkfifo(source / "pipe", 0o640)
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(source / "empty", "user.note", b"kept")
    (source / "deep").chmod(0o700)
    os.utime(source / "deep", ns=(1, 1_000_000_001))
    source.chmod(0o1777)
    os.chown(source, 999, 998)
    done = run(source, target)
    assert (done.returncode, done.stderr) == (0, "")
    assert shown(target) == shown(source)
    assert os.stat(target / "file").st_ino == os.stat(target / "deep/er/same").st_ino


def test_holes_stay_holes(tmp_path: Path) -> None:
    """A sparse file takes no more room than before, and reads the same."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    with (source / "sparse").open("wb") as file:
        file.seek(64 << 20)
        file.write(b"middle")
        file.truncate(128 << 20)
    assert run(source, target).returncode == 0
    copy = os.stat(target / "sparse")
    assert copy.st_size == 128 << 20
    assert copy.st_blocks * 512 < 1 << 20
    with (target / "sparse").open("rb") as file:
        file.seek(64 << 20)
        assert file.read(8) == b"middle\0\0"


def test_links_in_the_target_are_not_followed(tmp_path: Path) -> None:
    """Whoever has put links into the target is not written through: the copy fails instead."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("untouched")
    for trap in ("directory", "file"):
        source, target = tmp_path / f"{trap}-source", tmp_path / f"{trap}-target"
        source.mkdir()
        target.mkdir()
        if trap == "directory":
            (source / "sub").mkdir()
            (source / "sub/victim").write_text("evil")
            (target / "sub").symlink_to(outside)
        else:
            (source / "victim").write_text("evil")
            (target / "victim").symlink_to(outside / "victim")
        done = run(source, target)
        assert done.returncode == 1
        assert "File exists" in done.stderr
    assert (outside / "victim").read_text() == "untouched"
