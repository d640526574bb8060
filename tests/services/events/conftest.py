"""Events, and a bus that runs on a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from services.events import MIGRATION, Event, EventBus, Gap, Subscription
from services.store import Store


def event(n: int, **fields: object) -> Event:
    """An event that happened `n` ns after the epoch."""
    values: dict[str, object] = {
        "type": "container",
        "action": "start",
        "actor_id": f"id{n}",
        "time_ns": n,
        "attributes": {"name": f"name{n}", "image": "busybox"},
    }
    return Event(**(values | fields))  # type: ignore[arg-type]


def times(items: list[Event | Gap]) -> list[int | Gap]:
    """What came, events by their time."""
    return [item if isinstance(item, Gap) else item.time_ns for item in items]


async def take(channel: Subscription, count: int) -> list[int | Gap]:
    """The next `count` items."""
    return times([await channel.receive() for _ in range(count)])


async def take_all(channel: Subscription) -> list[int | Gap]:
    """All items up to the end."""
    return times([item async for item in channel])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the events' table."""
    return Store(tmp_path / "state.db", [MIGRATION])


@asynccontextmanager
async def run_bus(bus: EventBus, store: Store) -> AsyncIterator[EventBus]:
    """`store` and `bus`, running inside the block."""
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await nursery.start(bus.run)
        yield bus
        nursery.cancel_scope.cancel()
