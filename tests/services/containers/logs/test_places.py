"""A reader finds its place without reading what it does not need, in both formats."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.containers.logs import FileLog, LocalRecords
from services.containers.logs.files import LogFiles, Opened
from services.containers.stdio import Stream
from tests.services.containers.logs.conftest import MakeLog
from tests.services.containers.logs.lines import raw, read, write

SECOND = 1_000_000_000


class CountedReads:
    """Counts what is read of every file that a log opens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        real = LogFiles.open

        def counted(files: LogFiles, generation: int) -> Opened | None:
            opened = real(files, generation)
            if opened is None:
                return None
            return Opened(_Counted(opened.file, self), opened.contents)  # type: ignore[arg-type]

        monkeypatch.setattr(LogFiles, "open", counted)


class _Counted:
    def __init__(self, file: BinaryIO, counts: CountedReads) -> None:
        self._file, self._counts = file, counts

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._counts.bytes += len(data)
        return data

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def write_timed(
    log: FileLog, monkeypatch: pytest.MonkeyPatch, seconds: range, lines: int = 1
) -> None:
    """`lines` lines at each of the seconds."""
    for second in seconds:
        monkeypatch.setattr(time, "time_ns", lambda now=second * SECOND: now)
        write(log, b"".join(b"%d.%d %s\n" % (second, n, b"x" * 90) for n in range(lines)))
    monkeypatch.undo()


async def test_tail_of_a_huge_file_reads_its_end(
    tmp_path: Path, make_log: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last lines of 2 GB cost some hundred KB of reading: what is before is a hole here."""
    log = make_log(tmp_path)
    log.open(None)
    write(log, b"first\n")
    log.close()
    os.truncate(log.files.path, 2 << 30)
    with log.files.path.open("ab") as file:
        file.write(b"\n")
        end = log.format.encode(
            Stream.STDOUT, b"a\n" * 1000, time_ns=SECOND, last=False, room_bytes=None
        )
        file.write(end.records)
    counts = CountedReads(monkeypatch)
    assert await read(log, raw(tail=600)) == b"a\n" * 600
    assert 0 < counts.bytes < 2_000_000


async def test_since_reads_no_more_than_it_must(
    tmp_path: Path, make_log: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halving finds the time in a file; files that are older are passed over by their last line."""
    log = make_log(tmp_path, max_bytes=4_000_000)
    log.open(None)
    write_timed(log, monkeypatch, range(1, 1001), lines=100)
    log.close()
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size > 9_000_000
    counts = CountedReads(monkeypatch)
    got = await read(log, raw(since_ns=999 * SECOND))
    assert [line[:4] for line in got.splitlines()] == [b"999."] * 100 + [b"1000"] * 100
    assert 0 < counts.bytes < 2_000_000


@pytest.mark.parametrize("compress", [False, True])
async def test_since_finds_every_time(
    tmp_path: Path, make_log: MakeLog, monkeypatch: pytest.MonkeyPatch, compress: bool
) -> None:
    """Whatever the file and the place in it; `until` ends where it says."""
    log = make_log(tmp_path, max_bytes=100_000, compress=compress)
    log.open(None)
    write_timed(log, monkeypatch, range(10, 2000, 3))
    log.close()
    for since in (1, 10, 11, 12, 13, 700, 1001, 1500, 1997, 1999, 2000):
        got = await read(log, raw(since_ns=since * SECOND, until_ns=1900 * SECOND))
        times = [int(line.split(b".")[0]) for line in got.splitlines()]
        assert times == [t for t in range(10, 1901, 3) if t >= since]


async def test_tail_of_compressed_files_reads_only_the_one(
    tmp_path: Path, make_log: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many lines a compressed file has stands in its header."""
    log = make_log(tmp_path, max_bytes=100_000, compress=True)
    log.open(None)
    lines = [b"%d %s\n" % (n, b"x" * 90) for n in range(20_000)]
    write(log, b"".join(lines))
    log.close()
    with log.files.path.open("rb") as file:
        newest, _ = log.format.count_lines(file.read())
    counts = CountedReads(monkeypatch)
    assert await read(log, raw(tail=newest + 5)) == b"".join(lines[-newest - 5 :])
    assert 0 < counts.bytes < 400_000


async def test_clock_set_back_between_runs(
    tmp_path: Path, make_log: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times never go back, so halving may trust them: a new run begins at the last line's."""
    log = make_log(tmp_path)
    log.open(None)
    write_timed(log, monkeypatch, range(100, 101))
    log.close()
    heir = make_log(tmp_path)
    heir.open(None)
    write_timed(heir, monkeypatch, range(50, 51))
    heir.close()
    got = await read(heir, raw(since_ns=100 * SECOND))
    assert [line[:4] for line in got.splitlines()] == [b"100.", b"50.0"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_broken_records_are_stepped_over(data: st.DataObject) -> None:
    """Bytes changed, cut out or put in cost the records that they hit, and no other."""
    form = LocalRecords()
    records = [
        form.encode(
            Stream.STDOUT, b"%d %s\n" % (n, b"y" * n), time_ns=n, last=False, room_bytes=None
        ).records
        for n in range(12)
    ]
    hit = data.draw(st.integers(0, 11))
    at = data.draw(st.integers(0, len(records[hit]) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "put"]))
    broken = bytearray(records[hit])
    if kind == "flip":
        broken[at] ^= 0xFF
    elif kind == "cut":
        del broken[at:]
    else:
        broken[at:at] = b"\x93WL1garbage"
    text = b"".join([*records[:hit], bytes(broken), *records[hit + 1 :]])
    scanner = form.scanner(raw())
    got, position = b"", 0
    chance = random.Random(data.draw(st.integers(0, 99)))
    while position < len(text):
        count = chance.randrange(1, 60)
        got += scanner.feed(text[position : position + count])
        position += count
    seen = [int(line.split()[0]) for line in got.splitlines()]
    sound = [n for n in range(12) if n != hit]
    if kind == "put" and at == 0:
        sound = list(range(12))
    assert seen == sound


@settings(max_examples=60, deadline=None)
@given(hit=st.integers(0, 11), at=st.integers(0, 40), tail=st.integers(1, 12))
def test_tail_goes_past_broken_records(
    tmp_path_factory: pytest.TempPathFactory, hit: int, at: int, tail: int
) -> None:
    """Backwards too."""
    form = LocalRecords()
    records = [
        form.encode(Stream.STDOUT, b"%02d\n" % n, time_ns=n, last=False, room_bytes=None).records
        for n in range(12)
    ]
    at %= len(records[hit])
    broken = bytearray(records[hit])
    broken[at] ^= 0xFF
    text = b"".join([*records[:hit], bytes(broken), *records[hit + 1 :]])
    path = tmp_path_factory.mktemp("log") / "x"
    path.write_bytes(text)
    sound = [n for n in range(12) if n != hit]
    with path.open("rb") as file:
        place = form.find_tail(file, len(text), tail)
        scanner = form.scanner(raw())
        scanner.begin_file(place.skip)
        got = scanner.feed(text[place.offset :])
    assert [int(line) for line in got.splitlines()] == sound[-tail:]
    assert place.lacking == max(0, tail - len(sound))
