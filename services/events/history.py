"""The events on disk: numbered without gaps, the newest of them kept.

Everything here is called with a connection of the store, in one of its threads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from services import typed_json
from services.store import Migration

from .model import Event

# The rowid is the number: SQLite gives out the highest one in use plus one, a transaction that is
# undone gives its numbers back, and the newest row is never trimmed. So there are no gaps.
MIGRATION: Final = Migration(
    owner="events",
    version=1,
    sql="""
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        time_ns INTEGER NOT NULL,
        type TEXT NOT NULL,
        action TEXT NOT NULL,
        actor_id TEXT NOT NULL,
        scope TEXT NOT NULL,
        attributes BLOB NOT NULL
    ) STRICT;
    """,
)

_ATTRIBUTES: Final = typed_json.decoder(dict[str, str])
_COLUMNS: Final = "time_ns, type, action, actor_id, scope, attributes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The first and last number in the history; (1, 0) while it is empty."""

    oldest: int
    newest: int


def append(connection: sqlite3.Connection, events: Iterable[Event]) -> list[Event]:
    """Store `events` in order; return them with their numbers."""
    return [replace(event, seq=_insert(connection, event)) for event in events]


def _insert(connection: sqlite3.Connection, event: Event) -> int:
    seq = connection.execute(
        f"INSERT INTO events({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
        (
            event.time_ns,
            event.type,
            event.action,
            event.actor_id,
            event.scope,
            msgspec.json.encode(dict(event.attributes)),
        ),
    ).lastrowid
    assert seq is not None
    return seq


def page(connection: sqlite3.Connection, *, after_seq: int, limit: int) -> list[Event]:
    """Up to `limit` events numbered above `after_seq`, in order."""
    rows = connection.execute(
        f"SELECT seq, {_COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608
        (after_seq, limit),
    )
    return [
        Event(
            seq=seq,
            time_ns=time_ns,
            type=type_,
            action=action,
            actor_id=actor_id,
            scope=scope,
            attributes=_ATTRIBUTES.decode(attributes),
        )
        for seq, time_ns, type_, action, actor_id, scope, attributes in rows
    ]


def bounds(connection: sqlite3.Connection) -> Bounds:
    """What the history spans."""
    oldest, newest = connection.execute(
        "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)"
    ).fetchone()
    return Bounds(oldest=oldest or 1, newest=newest or 0)


def trim(connection: sqlite3.Connection, *, below_seq: int, limit: int) -> Bounds:
    """Drop at most `limit` of the events numbered below `below_seq`, oldest first."""
    oldest = bounds(connection).oldest
    connection.execute("DELETE FROM events WHERE seq < ?", (min(below_seq, oldest + limit),))
    return bounds(connection)
