"""The networks there are: in memory by id, and as rows on disk. What they are made of is not here.

A network is on disk before its link is made, and leaves it after its link is gone: see `Stage`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import msgspec
import trio

from services.errors import InvalidParameter, NotFound, Unavailable
from services.events import Event
from services.networks.catalog import records
from services.networks.model import Network, Stage

T = TypeVar("T")

GATE_S: Final = 5.0


class EventSink(Protocol):
    """What networks need of the event bus."""

    async def commit(
        self, *events: Event, change: Callable[[sqlite3.Connection], Any] | None = None
    ) -> Any:
        """Run `change` and store `events` in one transaction; publish them once it is durable."""


class Reader(Protocol):
    """What networks need of the store."""

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run `change` in a transaction; return when it is durable."""


class NetworkCatalog:
    """Predefined networks are put in by `set`; only the others have rows."""

    def __init__(self, *, store: Reader, events: EventSink) -> None:
        self._store, self._events = store, events
        self._by_id: dict[str, Network] = {}
        self._loaded = trio.Event()

    async def load(self) -> None:
        """Read the rows. Once is enough."""
        if not self._loaded.is_set():
            self._by_id |= {n.id: n for n in await self._store.write(records.load)}
            self._loaded.set()

    async def wait_loaded(self) -> None:
        """Raises Unavailable if the rows are not there within 5 s."""
        with trio.move_on_after(GATE_S) as limit:
            await self._loaded.wait()
        if limit.cancelled_caught:
            raise Unavailable("the networks are being loaded")

    def set(self, network: Network) -> None:
        """Have a predefined network as it is now."""
        self._by_id[network.id] = network

    @property
    def all(self) -> list[Network]:
        """All networks, also those that are being made or removed."""
        return list(self._by_id.values())

    def present(self) -> list[Network]:
        """All networks that clients see, the oldest first."""
        return [network for network in self._by_id.values() if network.stage is Stage.PRESENT]

    def get(self, network_id: str) -> Network | None:
        """The network with exactly this id, unless it is being made or removed."""
        network = self._by_id.get(network_id)
        return network if network is not None and network.stage is Stage.PRESENT else None

    def find(self, ref: str) -> Network:
        """By id, by name, or by a beginning of its id.

        Raises:
            NotFound: there is none.
            InvalidParameter: several begin so.
        """
        if found := self.get(ref):
            return found
        networks = self.present()
        named = [network for network in networks if network.name == ref]
        if named:  # of two the older one is the cluster's, was removed, and has containers that end
            return max(named, key=lambda network: network.created_at_ns)
        begun = [network for network in networks if ref and network.id.startswith(ref)]
        if len(begun) > 1:
            raise InvalidParameter(
                f"network {ref} is ambiguous ({len(begun)} matches found based on ID prefix)"
            )
        if not begun:
            raise NotFound(f"network {ref} not found")
        return begun[0]

    def is_name_taken(self, name: str) -> bool:
        """Whether a network is called so, be it one that is being made or removed."""
        return any(network.name == name for network in self._by_id.values())

    async def put(self, network: Network, *events: Event) -> None:
        """Write a network, with what tells of it."""
        await self._events.commit(*events, change=partial(records.put, network=network))
        self._by_id[network.id] = network

    async def move(self, network: Network, stage: Stage, *events: Event) -> Network:
        """Have a network in another stage."""
        changed = msgspec.structs.replace(network, stage=stage)
        await self.put(changed, *events)
        return changed

    async def delete(self, network: Network, *events: Event) -> None:
        """Forget a network, with what tells of it."""
        await self._events.commit(*events, change=partial(records.delete, network_id=network.id))
        self._by_id.pop(network.id, None)

    async def tell(self, *events: Event) -> None:
        """Publish events that no change of a row goes with."""
        await self._events.commit(*events)


def network_event(
    action: str,
    network_id: str,
    attributes: Mapping[str, str],
    *,
    time_ns: int | None = None,
) -> Event:
    """An event about a network."""
    return Event(
        type="network",
        action=action,
        actor_id=network_id,
        attributes=dict(attributes),
        time_ns=time.time_ns() if time_ns is None else time_ns,
    )


def event_of(network: Network, action: str, **attributes: str) -> Event:
    """An event about a network, with dockerd's attributes."""
    return network_event(
        action, network.id, {"name": network.name, "type": network.driver, **attributes}
    )
