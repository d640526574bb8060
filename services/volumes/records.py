"""The volumes on disk: a row for each, beside the directories that hold their data.

Everything here is called with a connection of the store, in one of its threads.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec
from loguru import logger

from services import typed_json
from services.store import Migration

from .model import Volume

MIGRATION: Final = Migration(
    owner="volumes",
    version=1,
    sql="""
    CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        record BLOB NOT NULL
    ) WITHOUT ROWID;
    """,
)

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = typed_json.decoder(Volume).decode


def load(connection: sqlite3.Connection) -> list[Volume]:
    """All volumes. A row that cannot be read is left alone: its data is found as a directory."""
    volumes = []
    for name, record in connection.execute("SELECT name, record FROM volumes"):
        try:
            volumes.append(_decode(record))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.bind(service="volumes").error(
                "volume record not readable", volume=name, error=str(error)
            )
    return volumes


def put(connection: sqlite3.Connection, volume: Volume) -> None:
    """Write or replace a row."""
    connection.execute(
        "INSERT OR REPLACE INTO volumes VALUES (?, ?)", (volume.name, _encode(volume))
    )


def delete(connection: sqlite3.Connection, name: str) -> None:
    """Delete a row; none is fine."""
    connection.execute("DELETE FROM volumes WHERE name = ?", (name,))
