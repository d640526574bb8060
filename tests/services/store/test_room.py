"""The blocks that the database has before it needs them: on a disk that is full it goes on."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.store._database import open_writer
from services.store._room import PAGES_BYTES, Room
from services.store.migrations import Migration

TABLE = Migration(owner="test", version=1, sql="CREATE TABLE rows (data BLOB)")
PAGES = 200


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a tmpfs")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> None:
    """Leave not a byte."""
    with (disk / "fill").open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def write_pages(path: Path, room: Room | None) -> int:
    """How many pages' worth can be written, each in a commit of its own, to PAGES."""
    if room:
        room.open()
    connection = open_writer(path, [TABLE])
    try:
        if room:
            room.take(connection)
        fill(path.parent)
        for written in range(PAGES):
            try:
                connection.execute("INSERT INTO rows VALUES (?)", (os.urandom(4000),))
            except Exception:  # SQLite has more than one word for it
                return written
        return PAGES
    finally:
        connection.close()
        if room:
            room.close()


def test_a_database_goes_on_without_a_free_byte(disk: Path) -> None:
    """For as much as it had taken; one that had taken nothing stops at once."""
    assert write_pages(disk / "with.db", Room(disk / "with.db")) == PAGES
    (disk / "fill").unlink()
    assert write_pages(disk / "without.db", None) < PAGES


def test_a_database_can_be_opened_without_a_free_byte(disk: Path) -> None:
    """The place of its log, which went when it was closed, is held until then."""
    path = disk / "with.db"
    assert write_pages(path, Room(path)) == PAGES
    fill(disk)
    assert write_pages(path, Room(path)) > 0


def test_the_content_is_what_it_was(tmp_path: Path) -> None:
    """Room is no row and no table; more is taken only when it is used up."""
    path = tmp_path / "a.db"
    room = Room(path)
    connection = open_writer(path, [TABLE])
    before = connection.execute("SELECT name FROM sqlite_master").fetchall()
    room.take(connection)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == before
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    size = connection.execute("PRAGMA page_count").fetchone()
    room.take(connection)
    assert connection.execute("PRAGMA page_count").fetchone() == size
    connection.execute("INSERT INTO rows VALUES (zeroblob(?))", (PAGES_BYTES,))
    room.take(connection)
    assert connection.execute("PRAGMA page_count").fetchone() > size
    connection.close()


def test_a_disk_without_room_is_no_reason_not_to_begin(disk: Path) -> None:
    """There is a warning; what can be stored is stored."""
    path = disk / "a.db"
    room = Room(path)
    connection = open_writer(path, [TABLE])
    fill(disk)
    room.open()
    room.take(connection)
    connection.close()
    room.close()
