"""Rotations and removals from beside the writer, at any moment, and kills in between."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from services.containers.logs import FileLog, FileOptions, JsonLines
from services.containers.stdio import Stream
from tests.services.containers.logs.lines import logged_text

OPTIONS = FileOptions(max_bytes=2_000, max_files=4)


def make_log(tmp_path: Path, options: FileOptions = OPTIONS) -> FileLog:
    return FileLog(tmp_path / "c-json.log", options, JsonLines())


def in_use() -> bool:
    """There is a run's spool."""
    return False


def idle() -> bool:
    return True


class Writer:
    """A spool that can be killed between any two of its steps."""

    def __init__(self, tmp_path: Path, options: FileOptions) -> None:
        self._make: Callable[[], FileLog] = lambda: make_log(tmp_path, options)
        self.log = self._make()
        self.lines = [b"line %d\n" % n for n in range(400)]
        self.recorded: tuple[int, bytes | None] = (0, None)
        self.done = 0
        self.log.open(None)

    def write(self) -> None:
        if self.log.write(Stream.STDOUT, self.lines[self.done]):
            self.done += 1

    def record(self) -> None:
        self.recorded = (self.done, self.log.position())
        self.log.recorded()

    def die(self) -> None:
        """Another process takes up what this one left."""
        os.close(self.log._fd)  # as the kernel does
        self.done, position = self.recorded
        self.log = self._make()
        self.log.open(position)


@pytest.mark.parametrize("max_files", [1, 2, 4])
@pytest.mark.parametrize("seed", range(25))
def test_no_line_is_doubled_or_missing_in_between(
    tmp_path: Path, seed: int, max_files: int
) -> None:
    """Older ones may be gone; from the first that is there on, each is there once, in order."""
    choose = random.Random(seed)
    writer = Writer(tmp_path, FileOptions(max_bytes=2_000, max_files=max_files))
    writer.record()
    while writer.done < len(writer.lines):
        writer.write()
        if choose.random() < 0.2:  # between the write and its record
            writer.log.rotate_early(in_use)
        if choose.random() < 0.2:
            writer.log.drop_oldest(in_use)
        if choose.random() < 0.05:
            writer.die()
        writer.record()
        if choose.random() < 0.2:
            writer.log.rotate_early(in_use)
        if choose.random() < 0.2:
            writer.log.drop_oldest(in_use)
        if choose.random() < 0.05:
            writer.die()
    writer.log.close()
    kept = logged_text(writer.log)
    assert b"".join(writer.lines).endswith(kept)


def test_silent_log_is_emptied_and_its_readers_are_told(tmp_path: Path) -> None:
    """A rotation that no write led to; what is dropped then is room, and readers go on."""
    log = make_log(tmp_path)
    log.open(None)
    log.position()
    log.recorded()
    log.write(Stream.STDOUT, b"one\n")
    log.announce()
    assert log.rotate_early(in_use) is None  # not before the spool knows of the line
    log.position()
    log.recorded()
    rotated = log.rotate_early(in_use)
    assert rotated is not None
    log.announce_rotation(rotated)
    assert log.feed.extent == rotated.after
    assert log.drop_oldest(in_use) > 0
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0
    log.write(Stream.STDOUT, b"two\n")
    log.close()
    assert logged_text(log) == b"two\n"


def test_asked_too_early_it_is_the_next_writes(tmp_path: Path) -> None:
    """Which begins with it."""
    log = make_log(tmp_path)
    log.open(None)
    log.write(Stream.STDOUT, b"one\n")
    assert log.rotate_early(in_use) is None
    log.write(Stream.STDOUT, b"two\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c-json.log", "c-json.log.1"]
    log.close()
    assert logged_text(log) == b"one\ntwo\n"


def test_log_of_a_stopped_container(tmp_path: Path) -> None:
    """It is shortened where it lies, unless a run's spool is there: then it is left alone."""
    log = make_log(tmp_path)
    log.open(None)
    log.write(Stream.STDOUT, b"one\n")
    log.close()
    log.rotate_early(in_use)
    assert [path.name for path in tmp_path.iterdir()] == ["c-json.log"]
    log.rotate_early(idle)
    assert [path.name for path in tmp_path.iterdir()] == ["c-json.log.1"]
    log.drop_oldest(idle)
    assert logged_text(log) == b""
    assert list(tmp_path.iterdir()) == []


def test_followers_files_go_unless_a_server_waits_for_them(tmp_path: Path) -> None:
    """A slow reader keeps no budget from being kept to; what was not sent yet is spared."""
    log = make_log(tmp_path, FileOptions(max_bytes=60, max_files=2))
    log.open(None)
    log.files.follow(self_ := object(), 0)
    for n in range(4):
        log.write(Stream.STDOUT, b"line %d\n" % n)
        log.position()
        log.recorded()
    held = [path for path in tmp_path.iterdir() if "held" in path.name]
    assert len(held) == 2
    log.spares_unread = True
    assert log.drop_oldest(in_use) == 0
    log.spares_unread = False
    assert log.drop_oldest(in_use) > 0
    assert log.drop_oldest(in_use) > 0
    assert log.files.unread == 2
    assert not [path for path in tmp_path.iterdir() if "held" in path.name]
    log.files.unfollow(self_)
    log.close()
