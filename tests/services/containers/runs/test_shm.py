"""Shared memory that is held for containers, on the real kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.containers.runs.shm import SharedMemory

pytestmark = pytest.mark.engine

A, B = "a" * 64, "b" * 64


@pytest.fixture
def memory(tmp_path: Path) -> SharedMemory:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    return SharedMemory(tmp_path / "run" / "shm")


def mounted(path: Path) -> list[list[str]]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [words for words in map(str.split, lines) if words[1] == str(path)]


def test_it_is_a_small_tmpfs_that_only_root_reaches(memory: SharedMemory, tmp_path: Path) -> None:
    """With the size that was asked for, and the options of a container's own."""
    assert not memory.is_held(A)
    path = memory.make(A, 1 << 20)
    try:
        assert memory.is_held(A)
        ((_, _, kind, options, *_),) = mounted(path)
        assert kind == "tmpfs"
        assert {"nosuid", "nodev", "noexec", "size=1024k"} <= set(options.split(","))
        assert path.stat().st_mode & 0o7777 == 0o1777
        assert path.parent.stat().st_mode & 0o7777 == 0o700
    finally:
        memory.drop(A)
    assert not memory.is_held(A)
    assert mounted(path) == []


def test_each_run_begins_with_an_empty_one(memory: SharedMemory) -> None:
    """Also over what a start that was cut short has left; nothing is mounted twice."""
    path = memory.make(A, 1 << 20)
    try:
        (path / "file").write_text("x")
        assert memory.make(A, 1 << 20) == path
        assert list(path.iterdir()) == []
        assert len(mounted(path)) == 1
    finally:
        memory.drop(A)


def test_what_there_is(memory: SharedMemory) -> None:
    """After a crash the folder tells; dropping what is gone is fine."""
    assert memory.held() == []
    memory.drop(A)
    for name in (B, A):
        memory.make(name, 1 << 16)
    assert memory.held() == [A, B]
    for name in (A, B):
        memory.drop(name)
    assert memory.held() == []
