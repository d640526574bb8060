"""A table to write to, and a store that runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from services.store import Migration, Store

TABLE = Migration(owner="test", version=1, sql="CREATE TABLE t (k INTEGER PRIMARY KEY, v);")

RunStore = Callable[[Store], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def run_store(store: Store) -> AsyncIterator[Store]:
    """`store`, running inside the block."""
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield store
        nursery.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Store:
    """A store with one table, `t`."""
    return Store(path, [TABLE])
