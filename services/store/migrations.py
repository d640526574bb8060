"""Each owner's tables, brought up to the version that its code knows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from services.errors import EngineError

_VERSIONS_TABLE = """
CREATE TABLE IF NOT EXISTS schema_versions (
    owner TEXT PRIMARY KEY,
    version INTEGER NOT NULL
) WITHOUT ROWID, STRICT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of one owner's tables. A released step is never edited, only followed by others."""

    owner: str  # the part whose tables these are: "containers", "events"
    version: int  # 1, 2, 3, ... without holes; the step leads from version - 1 to version
    sql: str  # one or more statements, each ended by a semicolon


def check_migrations(migrations: Iterable[Migration]) -> None:
    """Raise ValueError unless each owner's versions are 1, 2, 3, ... in this order."""
    latest: dict[str, int] = {}
    for step in migrations:
        expected = latest.get(step.owner, 0) + 1
        if step.version != expected:
            raise ValueError(
                f"migration {step.owner} {step.version} where {expected} was expected: "
                "versions count up from 1 without holes"
            )
        latest[step.owner] = step.version


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Run the steps that `connection` has not seen, all in one transaction or none.

    Raises:
        EngineError: the file was written by a newer version of the engine; nothing was changed.
    """
    check_migrations(migrations)
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_VERSIONS_TABLE)
        present: dict[str, int] = dict(
            connection.execute("SELECT owner, version FROM schema_versions")
        )
        _refuse_newer(present, migrations)
        for step in migrations:
            if step.version > present.get(step.owner, 0):
                _apply(connection, step)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refuse_newer(present: dict[str, int], migrations: Sequence[Migration]) -> None:
    known = {step.owner: step.version for step in migrations}  # the last one stays
    for owner, version in present.items():
        # An owner that we do not know at all is harmless: nothing here touches its tables.
        if owner in known and version > known[owner]:
            raise EngineError(
                f"the engine's state is newer than this program: {owner} is at version {version}, "
                f"this program knows {known[owner]}; start the version that wrote it"
            )


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    for statement in split_statements(step.sql):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO schema_versions(owner, version) VALUES (?, ?) "
        "ON CONFLICT(owner) DO UPDATE SET version = excluded.version",
        (step.owner, step.version),
    )


def split_statements(sql: str) -> Iterator[str]:
    """The statements of `sql`. (executescript would commit the transaction around it.)"""
    statement = ""
    for piece in sql.split(";"):
        statement += piece
        if statement.strip() and sqlite3.complete_statement(statement + ";"):
            yield statement.strip()
            statement = ""
        else:
            statement += ";"  # inside a string, a comment or a trigger
    if statement.strip(" \n\t;"):
        raise ValueError(f"migration ends in an unfinished statement: {statement.strip()[:80]}")
