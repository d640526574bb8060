"""services.store._database: what is done with a file that is no database, or a damaged one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from services.store._database import open_writer

from .conftest import TABLE


def rows(path: Path) -> list[tuple[object]]:
    return sqlite3.connect(path).execute("SELECT v FROM t").fetchall()


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """Messages logged as errors."""
    messages: list[str] = []
    sink = logger.add(lambda m: messages.append(m.record["message"]), level="ERROR")
    yield messages
    logger.remove(sink)


def test_garbage_is_set_aside(path: Path, errors: list[str]) -> None:
    """A file that is no database is kept under another name, reported, and replaced."""
    path.write_bytes(b"not a database" * 1000)
    open_writer(path, [TABLE]).close()
    (kept,) = path.parent.glob("state.db.corrupt-*")
    assert kept.read_bytes() == b"not a database" * 1000
    assert rows(path) == []
    assert len(errors) == 1


def test_damage_after_a_crash_is_found(path: Path, errors: list[str]) -> None:
    """After an unclean end the whole file is checked, not only what opening happens to read."""
    connection = open_writer(path, [TABLE])
    connection.executemany("INSERT INTO t(v) VALUES (?)", [("x" * 2000,) for _ in range(200)])
    connection.close()
    page_bytes = 4096
    damaged = bytearray(path.read_bytes())
    for page in range(20, 60):
        damaged[page * page_bytes : page * page_bytes + 8] = b"\xff" * 8
    path.write_bytes(damaged)
    path.with_name("state.db-wal").write_bytes(b"\0" * 32)  # what a crash leaves: a WAL
    open_writer(path, [TABLE]).close()
    assert rows(path) == []
    assert len(list(path.parent.glob("state.db.corrupt-*"))) >= 1
    assert len(errors) == 1


def test_two_in_one_second_keep_both(path: Path) -> None:
    """Setting aside never overwrites what was set aside before."""
    for content in (b"first garbage" * 100, b"second garbage" * 100):
        path.write_bytes(content)
        open_writer(path, [TABLE]).close()
    assert len(list(path.parent.glob("state.db.corrupt-*"))) == 2


def test_unopenable_is_not_set_aside(path: Path) -> None:
    """What cannot be opened for another reason is an error, and stays where it is."""
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        open_writer(path, [TABLE])
    assert path.is_dir()
