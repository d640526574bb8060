"""What a full disk has kept out of a log stands in it, whatever comes after."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.containers.logs import FileLog, FileOptions, JsonLines, LogCounts
from services.containers.logs.reserve import STEP_BYTES, Reserve
from services.containers.stdio import Stream
from tests.services.containers.logs.lines import all_entries

DISK_BYTES = 1 << 20
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_log(disk: Path, counts: LogCounts | None = None, **changes: object) -> FileLog:
    options = FileOptions(**changes)  # type: ignore[arg-type]
    return FileLog(disk / "c-json.log", options, JsonLines(), counts=counts)


def fill(disk: Path) -> Path:
    """Take what is left of the disk."""
    with (disk / "fill").open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return disk / "fill"


def write(log: FileLog, data: bytes) -> None:
    while data:
        data = data[log.write(Stream.STDOUT, data) :]


def texts(log: FileLog) -> list[str]:
    return [entry["log"] for entry in all_entries(log.files)]


NOTE = re.compile(r"\[(\d+) bytes of output could not be logged here\]\n")


def note(size_bytes: int) -> str:
    return f"[{size_bytes} bytes of output could not be logged here]\n"


@needs_root
@pytest.mark.parametrize(("labels_bytes", "lines"), [(0, 40_000), (60_000, 400)])
def test_the_end_of_a_run_tells_of_it_without_room(
    disk: Path, labels_bytes: int, lines: int
) -> None:
    """Also where each line bears much, and the next run begins after it."""
    counts = LogCounts()
    log = make_log(disk, counts)
    log.format = JsonLines({"l": "x" * labels_bytes})
    log.open(None)
    write(log, b"before\n")
    filler = fill(disk)
    write(log, b"line\n" * lines)
    log.conclude()
    log.close()
    assert counts.dropped_bytes + counts.written_bytes == 5 * lines + 7
    first, *kept, last = texts(log)
    assert (first, set(kept) <= {"line\n"}) == ("before\n", True)
    assert last == note(counts.dropped_bytes)
    filler.unlink()
    log.open(None)
    write(log, b"after\n")
    log.conclude()
    log.close()
    assert texts(log)[-2:] == [last, "after\n"]


@needs_root
def test_the_next_process_knows_of_it(disk: Path) -> None:
    """The position that a kill leaves behind has the count; one of an earlier version has none."""
    log = make_log(disk)
    log.open(None)
    write(log, b"before\n")
    old = log.position()[:16]
    fill(disk)
    write(log, b"x" * 15_000 + b"\n" + b"lost\n" * 40_000)
    counts = LogCounts()
    heir = make_log(disk, counts)
    heir.open(log.position())
    write(heir, b"more\n" * 40_000)
    heir.conclude()
    heir.close()
    told = [NOTE.fullmatch(text) for text in texts(heir)]
    assert told[-1], texts(heir)[-1]
    kept = sum(len(text) for text, its_note in zip(texts(heir), told, strict=True) if not its_note)
    lost = sum(int(its_note[1]) for its_note in told if its_note)
    assert kept + lost == len(b"before\n") + 15_001 + 400_000
    assert lost > 15_001
    later = make_log(disk)
    later.open(old)
    later.conclude()
    later.close()
    assert texts(later) == ["before\n"]


@needs_root
def test_a_log_at_its_bound_stays_in_its_file(disk: Path) -> None:
    """A new one would have no room to say anything; when there is room it is rotated."""
    log = make_log(disk, max_bytes=100, max_files=3)
    log.open(None)
    write(log, b"first\n")
    filler = fill(disk)
    for _ in range(2_000):
        write(log, b"x" * 1_000 + b"\n")
    log.conclude()
    assert not (disk / "c-json.log.1").exists()
    assert texts(log)[-1].endswith("bytes of output could not be logged here]\n")
    filler.unlink()
    write(log, b"second\n")
    log.close()
    assert texts(log)[-1] == "second\n"
    assert (disk / "c-json.log.1").exists()


@needs_root
def test_the_room_is_given_back(disk: Path) -> None:
    """A log that nobody writes takes what it holds."""
    log = make_log(disk)
    log.open(None)
    write(log, b"line\n")
    status = log.files.path.stat()
    assert STEP_BYTES <= status.st_blocks * 512 <= STEP_BYTES + 8192
    assert status.st_size < 200
    log.close()
    assert log.files.path.stat().st_blocks * 512 <= 4096


def test_a_large_hole_stays_one(tmp_path: Path) -> None:
    """What is before the log's end is nobody's affair: it may be sparse."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        reserve = Reserve()
        reserve.begin(file.fileno(), 1 << 40, 100)
        assert path.stat().st_blocks * 512 <= 2 * STEP_BYTES


def test_file_systems_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked once; the log is written as without a reserve."""
    asked: list[int] = []

    def cannot(_descriptor: int, *, offset: int, length: int) -> None:
        asked.append(offset + length)
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("services.containers.logs.reserve.take_blocks", cannot)
    log = make_log(tmp_path)
    log.open(None)
    write(log, b"line\n" * 50_000)
    log.conclude()
    log.close()
    assert len(texts(log)) == 50_000
    assert len(asked) == 1
