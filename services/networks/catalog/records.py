"""The networks on disk: a row for each but the predefined ones.

Everything here is called with a connection of the store, in one of its threads.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec
from loguru import logger

from services import typed_json
from services.networks.model import Network
from services.store import Migration

MIGRATION: Final = Migration(
    owner="networks",
    version=1,
    sql="""
    CREATE TABLE networks (
        id TEXT PRIMARY KEY,
        record BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE unreadable_networks (id TEXT PRIMARY KEY, record BLOB, error TEXT);
    """,
)

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = typed_json.decoder(Network).decode


def load(connection: sqlite3.Connection) -> list[Network]:
    """All networks, the oldest first. A row that cannot be read is set aside and reported."""
    networks = []
    for network_id, record in connection.execute("SELECT id, record FROM networks").fetchall():
        try:
            networks.append(_decode(record))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.bind(service="networks").error(
                "network record not readable, set aside", network=network_id, error=str(error)
            )
            connection.execute("DELETE FROM networks WHERE id = ?", (network_id,))
            connection.execute(
                "INSERT OR REPLACE INTO unreadable_networks VALUES (?, ?, ?)",
                (network_id, record, str(error)),
            )
    return sorted(networks, key=lambda network: network.created_at_ns)


def put(connection: sqlite3.Connection, network: Network) -> None:
    """Write or replace a row."""
    connection.execute(
        "INSERT OR REPLACE INTO networks VALUES (?, ?)", (network.id, _encode(network))
    )


def delete(connection: sqlite3.Connection, network_id: str) -> None:
    """Delete a row; none is fine."""
    connection.execute("DELETE FROM networks WHERE id = ?", (network_id,))
