"""Every change of a container: to disk, together with the events that tell of it, then to memory.

One SQLite transaction holds the row and the numbered events, so that neither can be there without
the other after a crash.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec
from loguru import logger

from services import typed_json
from services.containers.config import EndpointSettings
from services.containers.container import Container
from services.containers.model import ContainerId, Definition, Place, Status
from services.events import Event
from services.networks.model import GATEWAY_BRIDGE
from services.store import Migration

T = TypeVar("T")

MIGRATIONS = (
    Migration(
        owner="containers",
        version=1,
        sql="""
        CREATE TABLE containers (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            definition BLOB NOT NULL,
            status BLOB NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE unreadable_containers (
            id TEXT PRIMARY KEY, name TEXT, definition BLOB, status BLOB, error TEXT
        );
        """,
    ),
)

_encode = msgspec.json.Encoder().encode
_decode_definition = typed_json.decoder(Definition).decode
_decode_status = typed_json.decoder(Status).decode


class EventSink(Protocol):
    """What the journal needs of the event bus."""

    async def commit(
        self, *events: Event, change: Callable[[sqlite3.Connection], Any] | None = None
    ) -> Any:
        """Run `change` and store `events` in one transaction; publish them once it is durable."""

    async def commit_soon(self, *events: Event) -> None:
        """Store and publish events; they need not be durable when this returns."""


class Reader(Protocol):
    """What the journal needs of the store."""

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run `change` in a transaction; return when it is durable."""


class Journal:
    """The durable side of the container table."""

    def __init__(self, *, store: Reader, events: EventSink) -> None:
        self._store = store
        self._events = events

    async def load(self) -> list[Container]:
        """All containers on disk. A row that cannot be read is set aside and reported."""
        return await self._store.write(_load)

    async def insert(
        self,
        container: Container,
        *events: Event,
        also: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        """Add a container that was made just now; `also` is done in the same transaction."""
        definition, status = container.definition, container.status
        row = (definition.id, definition.name, _encode(definition), _encode(status))

        def insert(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO containers VALUES (?, ?, ?, ?)", row)
            if also is not None:
                also(db)

        await self._events.commit(*events, change=insert)

    async def change_status(self, container: Container, *events: Event, **changes: Any) -> None:
        """Replace some fields of the status, on disk and then in memory.

        The rest is as it stands once earlier changes have been written: a stop that is asked for
        just as the container exits must not write back that it runs.
        """
        async with container.writing:
            status = msgspec.structs.replace(container.status, **changes)
            row = (_encode(status), container.id)
            await self._events.commit(
                *events,
                change=lambda db: db.execute("UPDATE containers SET status = ? WHERE id = ?", row),
            )
            container.replace(status=status)

    async def change_in_memory(self, container: Container, **changes: Any) -> None:
        """As `change_status`, and on disk with the next change: where the disk has refused, and
        what is done makes room on it."""
        async with container.writing:
            container.replace(status=msgspec.structs.replace(container.status, **changes))

    async def set_definition(
        self, container: Container, definition: Definition, *events: Event, **changes: Any
    ) -> None:
        """Replace the definition (a rename, an update), on disk and then in memory.

        `changes` are to the status, in the same transaction; see `change_status`.
        """
        async with container.writing:
            status = msgspec.structs.replace(container.status, **changes)
            row = (definition.name, _encode(definition), _encode(status), container.id)
            await self._events.commit(
                *events,
                change=lambda db: db.execute(
                    "UPDATE containers SET name = ?, definition = ?, status = ? WHERE id = ?", row
                ),
            )
            container.replace(definition=definition, status=status)

    async def delete(self, container_id: ContainerId, *events: Event) -> None:
        """Remove the row."""
        await self._events.commit(
            *events,
            change=lambda db: db.execute("DELETE FROM containers WHERE id = ?", (container_id,)),
        )

    async def tell(self, *events: Event) -> None:
        """Publish events that no change of a row goes with."""
        await self._events.commit(*events)

    async def mention(self, *events: Event) -> None:
        """Publish events of what does not outlive the daemon: in order, but not waited for.

        Killed at once, the daemon forgets them together with what they told of.
        """
        await self._events.commit_soon(*events)


def container_event(
    container: Container,
    action: str,
    attributes: Mapping[str, str] | None = None,
    *,
    time_ns: int | None = None,
) -> Event:
    """An event about `container` with dockerd's attributes: labels, image, name, those given."""
    definition = container.definition
    return Event(
        type="container",
        action=action,
        actor_id=container.id,
        attributes={
            **definition.config.labels,
            "image": definition.config.image,
            "name": definition.name,
            **(attributes or {}),
        },
        time_ns=time.time_ns() if time_ns is None else time_ns,
    )


def network_events(
    container: Container,
    endpoints: Mapping[str, EndpointSettings],
    places: Mapping[str, Place],
    action: str,
    *,
    time_ns: int,
) -> list[Event]:
    """dockerd's events about the networks that a container joins or leaves."""
    return [
        Event(
            type="network",
            action=action,
            actor_id=settings.network_id,
            attributes={
                "container": container.id,
                "name": name,
                "type": places.get(name, Place()).driver,
            },
            time_ns=time_ns,
        )
        for name, settings in endpoints.items()
        if name != GATEWAY_BRIDGE or name in container.definition.networks
    ]


def _load(db: sqlite3.Connection) -> list[Container]:
    rows: Iterable[tuple[str, str, bytes, bytes]] = db.execute(
        "SELECT id, name, definition, status FROM containers"
    ).fetchall()
    containers: list[Container] = []
    for row in rows:
        try:
            containers.append(Container(_decode_definition(row[2]), _decode_status(row[3])))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.bind(service="containers").error(
                "container record not readable, set aside", container=row[0], error=str(error)
            )
            db.execute("DELETE FROM containers WHERE id = ?", row[:1])
            db.execute(
                "INSERT OR REPLACE INTO unreadable_containers VALUES (?, ?, ?, ?, ?)",
                (*row, str(error)),
            )
    return containers
