"""The writer rotates, survives a full disk, and takes up where a killed one stopped."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from services.containers.logs import FileLog, FileOptions, JsonLines, LogCounts
from services.containers.stdio import Stream
from tests.services.containers.logs.lines import all_entries, logged_text


def make_log(tmp_path: Path, counts: LogCounts | None = None, **changes: object) -> FileLog:
    options = FileOptions(**changes)  # type: ignore[arg-type]
    return FileLog(tmp_path / "c-json.log", options, JsonLines(), counts=counts)


def write(log: FileLog, data: bytes) -> None:
    while data:
        data = data[log.write(Stream.STDOUT, data) :]


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    """At most max_files files, each past its bound by less than a line."""
    log = make_log(tmp_path, max_bytes=2_000, max_files=3)
    log.open(None)
    text = b"".join(b"line %d\n" % n for n in range(1_000))
    write(log, text)
    log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["c-json.log", "c-json.log.1", "c-json.log.2"]
    for path in tmp_path.iterdir():
        assert path.stat().st_size < 2_000 + 100
    kept = logged_text(log)
    assert text.endswith(kept)
    assert len(kept) > 400


def test_one_file_starts_anew(tmp_path: Path) -> None:
    """With max-file=1 a full file is emptied."""
    log = make_log(tmp_path, max_bytes=1_000, max_files=1)
    log.open(None)
    write(log, b"x\n" * 100)
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["c-json.log"]
    assert log.files.path.stat().st_size < 1_100


def test_compressed_files_are_dockerds_names(tmp_path: Path) -> None:
    """Every file but the newest is compressed when the run is over."""
    log = make_log(tmp_path, max_bytes=1_000, max_files=4, compress=True)
    log.open(None)
    text = b"".join(b"line %d\n" % n for n in range(80))
    write(log, text)
    log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["c-json.log"] + [f"c-json.log.{n}.gz" for n in (1, 2, 3)]
    assert text.endswith(logged_text(log))


@pytest.mark.parametrize("max_files", [1, 3])
@pytest.mark.parametrize("rotate", [False, True])
def test_resumes_at_the_recorded_position(tmp_path: Path, rotate: bool, max_files: int) -> None:
    """What was written after the position, a rotation included, is cut off."""
    log = make_log(tmp_path, max_bytes=100 if rotate else None, max_files=max_files)
    log.open(None)
    log.write(
        Stream.STDOUT, b"recorded and longer than a hundred bytes as a line of json, surely\n"
    )
    position = log.position()
    log.write(Stream.STDOUT, b"written, and not recorded\n")
    heir = make_log(tmp_path, max_bytes=None, max_files=max_files)
    heir.open(position)
    heir.write(Stream.STDOUT, b"again\n")
    heir.close()
    texts = [entry["log"] for entry in all_entries(heir.files)]
    assert texts[-1] == "again\n"
    assert "written, and not recorded\n" not in texts
    assert len(texts) == (1 if rotate and max_files == 1 else 2)


def test_rotation_cut_short_hides_nothing(tmp_path: Path) -> None:
    """A kill between two renames or while compressing is mended at the next start."""
    log = make_log(tmp_path, max_bytes=1_000, max_files=9)
    log.open(None)
    text = b"".join(b"line %d\n" % n for n in range(80))
    write(log, text)
    log.close()
    base = tmp_path / "c-json.log"
    for age in (6, 5, 4):
        (tmp_path / f"{base.name}.{age}").rename(tmp_path / f"{base.name}.{age + 1}")
    (tmp_path / f".{base.name}.1.gz.tmp").write_bytes(b"half")
    with gzip.open(f"{base}.2.gz", "wb") as packed:
        packed.write((tmp_path / f"{base.name}.2").read_bytes())
    heir = make_log(tmp_path, max_bytes=1_000, max_files=9)
    assert logged_text(heir) == text
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / f"{base.name}.2").exists()


def test_full_disk_drops_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that the disk refuses are counted, and a line in the log tells of them."""
    counts = LogCounts()
    log = make_log(tmp_path, counts)
    log.open(None)
    write(log, b"before\n")
    real = os.pwrite

    def half(fd: int, data: bytes, offset: int) -> int:
        real(fd, bytes(data)[:5], offset)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", half)
    write(log, b"lost\n")
    write(log, b"lost too\n")
    monkeypatch.undo()
    write(log, b"after\n")
    log.close()
    assert (counts.dropped_lines, counts.dropped_bytes) == (2, 14)
    assert counts.refused_lines == 2
    assert (counts.written_lines, counts.written_bytes) == (2, 13)
    assert [entry["log"] for entry in all_entries(log.files)] == [
        "before\n",
        "[14 bytes of output could not be logged here]\n",
        "after\n",
    ]


def test_many_lines_with_much_on_each_are_written_in_parts(tmp_path: Path) -> None:
    """A block of a quarter of a megabyte must not become gigabytes in memory at once."""
    log = make_log(tmp_path, max_bytes=None)
    log.format = JsonLines({"label": "x" * 10_000})
    log.open(None)
    data, counts = b"".join(b"%d\n" % n for n in range(1_000)) + b"rest", []
    while data:
        counts.append(log.write(Stream.STDOUT, data, last=True))
        data = data[counts[-1] :]
    log.close()
    texts = [entry["log"] for entry in all_entries(log.files)]
    assert texts == [*(f"{n}\n" for n in range(1_000)), "rest"]
    assert len(counts) >= 10


def test_times_never_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back does not put a line before its predecessor."""
    log = make_log(tmp_path)
    log.open(None)
    monkeypatch.setattr(time, "time_ns", iter([2_000_000_000, 1_000_000_000]).__next__)
    write(log, b"1\n")
    write(log, b"2\n")
    log.close()
    assert [entry["time"] for entry in all_entries(log.files)] == ["1970-01-01T00:00:02Z"] * 2
