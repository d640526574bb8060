"""containerd's log lines in ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from loguru import logger

from services.containerd import process_log
from services.containerd.process_log import LogFollower, write_line

Lines = list[tuple[str, str, dict[str, object]]]


@pytest.fixture
def logged() -> Iterator[Lines]:
    """Level, message and containerd's fields of each line."""
    lines: Lines = []

    def sink(message: object) -> None:
        record = message.record  # type: ignore[attr-defined]  # loguru's own kind of str
        lines.append(
            (record["level"].name, record["message"], record["extra"].get("containerd", {}))
        )

    number = logger.add(sink, level="TRACE", format="{message}")
    yield lines
    logger.remove(number)


@pytest.mark.parametrize(
    ("line", "level", "message", "fields"),
    [
        (b'{"level":"info","msg":"a {b}","time":"x","k":"v"}', "INFO", "a {b}", {"k": "v"}),
        (b'{"level":"warning","msg":"w"}', "WARNING", "w", {}),
        (b'{"level":"fatal","msg":"f"}', "CRITICAL", "f", {}),
        (b'{"level":"new","msg":"n"}', "INFO", "n", {}),
        (b'time="x" level=info msg="shim"', "DEBUG", 'time="x" level=info msg="shim"', {}),
        (
            b'{"level":"warning","msg":"cleaning up after shim disconnected","id":"c"}',
            "DEBUG",
            "cleaning up after shim disconnected",
            {"id": "c"},
        ),
        (
            b'{"level":"warning","msg":"cleanup warnings time=t level=info msg=a"}',
            "DEBUG",
            "cleanup warnings time=t level=info msg=a",
            {},
        ),
        (
            b'{"level":"warning","msg":"cleanup warnings level=info msg=a level=warning msg=b"}',
            "WARNING",
            "cleanup warnings level=info msg=a level=warning msg=b",
            {},
        ),
        (b"panic: \xff {}", "ERROR", "panic: \ufffd {}", {}),
        (b"[1]", "ERROR", "[1]", {}),
    ],
)
def test_a_line_keeps_its_level(
    logged: Lines, line: bytes, level: str, message: str, fields: dict[str, object]
) -> None:
    """Level, text and fields come through; what is not a log line at all is an error."""
    write_line(line)
    assert logged == [(level, message, fields)]


def test_follower_reads_what_comes_and_keeps_the_file_small(
    tmp_path: Path, logged: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old lines are not told again, lines in pieces are put together, the file is emptied."""
    monkeypatch.setattr(process_log, "FILE_MAX_BYTES", 100)
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    writer = os.open(path, os.O_WRONLY | os.O_APPEND)
    with closing(LogFollower(path)) as follower:
        os.write(writer, b"one\ntw")
        follower.drain()
        os.write(writer, b"o\n" + b"x" * 100 + b"\n")
        follower.drain()
        assert path.stat().st_size == 0
        os.write(writer, b"three\nrest")
    os.close(writer)
    assert [message for _, message, _ in logged] == ["one", "two", "x" * 100, "three", "rest"]
