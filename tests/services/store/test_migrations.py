"""services.store.migrations: each owner's tables reach the version that its code knows."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from services.errors import EngineError
from services.store import Migration
from services.store.migrations import check_migrations, migrate, split_statements


def open_at(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def versions(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT owner, version FROM schema_versions"))


A1 = Migration(owner="a", version=1, sql="CREATE TABLE a (x); INSERT INTO a VALUES ('one;two');")
A2 = Migration(owner="a", version=2, sql="ALTER TABLE a ADD COLUMN y;")
B1 = Migration(owner="b", version=1, sql="CREATE TABLE b (x);")
BROKEN = Migration(owner="b", version=2, sql="CREATE TABLE c (x); CREATE TABLE b (x);")


def test_steps_run_once_and_in_order(tmp_path: Path) -> None:
    """A file that is at version 1 gets only what follows; running again changes nothing."""
    connection = open_at(tmp_path / "db")
    migrate(connection, [A1])
    migrate(connection, [A1, B1, A2])
    migrate(connection, [A1, B1, A2])
    assert versions(connection) == {"a": 2, "b": 1}
    assert connection.execute("SELECT x, y FROM a").fetchall() == [("one;two", None)]


def test_failed_step_undoes_all(tmp_path: Path) -> None:
    """Migration is all or nothing, over all owners."""
    connection = open_at(tmp_path / "db")
    migrate(connection, [A1])
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(connection, [A1, A2, B1, BROKEN])
    assert versions(connection) == {"a": 1}
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert tables == {"a", "schema_versions"}


def test_newer_file_is_refused(tmp_path: Path) -> None:
    """A file from a later version is refused with a sentence that names owner and versions."""
    connection = open_at(tmp_path / "db")
    migrate(connection, [A1, A2])
    with pytest.raises(EngineError, match=r"a is at version 2, this program knows 1"):
        migrate(connection, [A1, B1])
    assert versions(connection) == {"a": 2}


@pytest.mark.parametrize("steps", [[A2], [A1, A1], [A2, A1]])
def test_versions_must_count_up(steps: list[Migration]) -> None:
    """Holes, repeats and disorder are the programmer's error."""
    with pytest.raises(ValueError, match="count up from 1"):
        check_migrations(steps)


def test_statements_split_where_sqlite_says() -> None:
    """Semicolons in strings, comments and triggers do not end a statement."""
    trigger = "CREATE TRIGGER r AFTER INSERT ON a BEGIN DELETE FROM b; DELETE FROM c; END"
    sql = f"INSERT INTO a VALUES ('x;y'); {trigger}; SELECT 1 -- a; b\n;"
    assert list(split_statements(sql)) == [
        "INSERT INTO a VALUES ('x;y')",
        trigger,
        "SELECT 1 -- a; b",
    ]
    with pytest.raises(ValueError, match="unfinished"):
        list(split_statements("SELECT 'never closed;"))
