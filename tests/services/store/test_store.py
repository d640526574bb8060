"""services.store.store: writes that last, reads that see them, and what happens otherwise."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from services.errors import EngineError, Unavailable
from services.store import Store
from services.store._room import PAGES_BYTES

from .conftest import TABLE, run_store


def insert(value: object, connection: sqlite3.Connection) -> int | None:
    return connection.execute("INSERT INTO t(v) VALUES (?)", (value,)).lastrowid


def values(connection: sqlite3.Connection) -> list[object]:
    return [v for (v,) in connection.execute("SELECT v FROM t ORDER BY k")]


class HeldWriter:
    """A closure that keeps the writer busy until released."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        self.entered.set()
        assert self.release.wait(30)

    async def wait_entered(self) -> None:
        await trio.to_thread.run_sync(self.entered.wait, 30)


async def test_write_returns_the_result_and_reads_see_it(store: Store) -> None:
    """A finished write is seen by both kinds of read, and by another process."""
    async with run_store(store):
        assert await store.write(partial(insert, "a")) == 1
        assert await store.read(values) == ["a"]
        assert store.read_nowait(values) == ["a"]
        assert values(sqlite3.connect(store._path)) == ["a"]


async def test_file_is_private(store: Store, path: Path) -> None:
    """Database, WAL and index belong to their owner alone, whatever the umask or an old mode."""
    await trio.Path(path).touch(mode=0o644)
    async with run_store(store):
        await store.write(partial(insert, "a"))
        for name in ("state.db", "state.db-wal", "state.db-shm"):
            assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600, name


async def test_durable_settings(store: Store) -> None:
    """The writer runs with WAL and synchronous=FULL (2)."""

    def settings(connection: sqlite3.Connection) -> tuple[object, object]:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        (sync,) = connection.execute("PRAGMA synchronous").fetchone()
        return mode, sync

    async with run_store(store):
        assert await store.write(settings) == ("wal", 2)


async def test_failing_closure_is_undone_alone(store: Store) -> None:
    """Of closures that share a transaction, one that raises leaves nothing and harms nobody."""
    results: dict[int, object] = {}

    def fail(connection: sqlite3.Connection) -> None:
        insert("never", connection)
        raise KeyError("mine")

    async def write(i: int) -> None:
        try:
            results[i] = await store.write(fail if i == 2 else partial(insert, i))
        except KeyError as error:
            results[i] = error

    async with run_store(store):
        held = HeldWriter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, held)
            await held.wait_entered()
            for i in range(5):
                nursery.start_soon(write, i)
            await trio.testing.wait_all_tasks_blocked()
            held.release.set()
        assert isinstance(results.pop(2), KeyError)
        assert sorted(results) == [0, 1, 3, 4]
        assert sorted(map(str, await store.read(values))) == ["0", "1", "3", "4"]


async def test_waiting_writes_share_one_transaction(store: Store) -> None:
    """What waits when the writer is free again is committed together, in order of arrival."""
    transactions: list[int] = []

    def write(connection: sqlite3.Connection) -> None:
        transactions.append(connection.total_changes)
        insert("x", connection)

    commits: list[str] = []

    async with run_store(store):
        held = HeldWriter()

        def trace(connection: sqlite3.Connection) -> None:
            connection.set_trace_callback(commits.append)

        await store.write(trace)
        commits.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, held)
            await held.wait_entered()
            for _ in range(100):
                nursery.start_soon(store.write, write)
            await trio.testing.wait_all_tasks_blocked()
            held.release.set()
        assert len(await store.read(values)) == 100
        assert commits.count("COMMIT") == 2


async def test_then_runs_in_commit_order_before_callers(store: Store) -> None:
    """`then` is called with each result in the order of commits, before its caller goes on."""
    told: list[int | None] = []

    async def write() -> None:
        k = await store.write(partial(insert, "x"), then=told.append)
        assert k in told

    async with run_store(store), trio.open_nursery() as nursery:
        for _ in range(300):
            nursery.start_soon(write)
    assert told == list(range(1, 301))


async def test_error_in_then_goes_to_the_caller(store: Store) -> None:
    """A `then` that raises is its caller's bug: the write stands, the store goes on."""

    def bug(_: object) -> None:
        raise ZeroDivisionError

    async with run_store(store):
        with pytest.raises(ZeroDivisionError):
            await store.write(partial(insert, "a"), then=bug)
        await store.write(partial(insert, "b"))
        assert await store.read(values) == ["a", "b"]


async def test_cancelled_while_queued_never_happens(store: Store) -> None:
    """A queued write whose caller is cancelled is withdrawn, and gives its place back."""
    store = Store(store._path, [TABLE], queue_limit=2)
    async with run_store(store), trio.open_nursery() as nursery:
        held = HeldWriter()
        nursery.start_soon(store.write, held)
        await held.wait_entered()
        for _ in range(5):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as inner:
                    inner.start_soon(store.write, partial(insert, "never"))
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
            assert scope.cancelled_caught
        held.release.set()
        await store.write(partial(insert, "after"))
        assert await store.read(values) == ["after"]


async def test_cancelled_while_under_way_completes(store: Store) -> None:
    """A write that the writer has begun completes; its caller gets the result, then Cancelled."""
    done: list[str] = []

    def write(held: HeldWriter, connection: sqlite3.Connection) -> str:
        held(connection)
        insert("a", connection)
        return "result"

    async with run_store(store):
        held = HeldWriter()
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                done.append(await store.write(partial(write, held), then=done.append))
                await trio.lowlevel.checkpoint()
                done.append("past the checkpoint")

            nursery.start_soon(call)
            await held.wait_entered()
            nursery.cancel_scope.cancel()
            await trio.lowlevel.cancel_shielded_checkpoint()
            held.release.set()
        assert done == ["result", "result"]
        assert await store.read(values) == ["a"]


async def test_callers_wait_when_the_queue_is_full(store: Store) -> None:
    """Past the queue's limit callers wait for a place; all are served in the end."""
    store = Store(store._path, [TABLE], queue_limit=3)
    async with run_store(store), trio.open_nursery() as nursery:
        held = HeldWriter()
        nursery.start_soon(store.write, held)
        await held.wait_entered()
        for i in range(10):
            nursery.start_soon(store.write, partial(insert, i))
        await trio.testing.wait_all_tasks_blocked()
        assert store._open is not None
        assert len(store._open.writer._jobs) == 2
        held.release.set()
    assert len(values(sqlite3.connect(store._path))) == 10


async def test_stop_writes_what_is_queued(store: Store) -> None:
    """Asked to stop, the store still commits what was accepted before it ends."""
    results: list[object] = []

    async def write(i: int) -> None:
        with trio.CancelScope(shield=True):
            results.append(await store.write(partial(insert, i)))

    async with trio.open_nursery() as nursery, run_store(store):
        held = HeldWriter()
        nursery.start_soon(store.write, held)
        await held.wait_entered()
        for i in range(20):
            nursery.start_soon(write, i)
        await trio.testing.wait_all_tasks_blocked()
        threading.Timer(0.05, held.release.set).start()
    assert sorted(results, key=str) == sorted(range(1, 21), key=str)
    assert len(values(sqlite3.connect(store._path))) == 20


async def test_restart_serves_again(store: Store) -> None:
    """`run` may be called again; a caller that waits meanwhile is served by the next run."""
    async with run_store(store):
        await store.write(partial(insert, "a"))
    assert not store.is_ready
    written = trio.Event()

    async def write() -> None:
        await store.write(partial(insert, "b"))
        written.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        async with run_store(store):
            await written.wait()
            assert await store.read(values) == ["a", "b"]


async def test_away_store_is_unavailable(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    """While the store is not open, calls wait 5 s, then say so; read_nowait at once."""
    for call in (store.write, store.read):
        start = trio.current_time()
        with pytest.raises(Unavailable):
            await call(values)
        assert trio.current_time() - start == 5.0
    with pytest.raises(Unavailable):
        store.read_nowait(values)


async def test_readers_cannot_write(store: Store) -> None:
    """A read closure that writes is refused."""
    async with run_store(store):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await store.read(partial(insert, "a"))
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            store.read_nowait(partial(insert, "a"))
        assert await store.read(values) == []


@pytest.mark.parametrize(
    "ends_it",
    [
        lambda c: c.commit(),
        lambda c: c.rollback(),
        lambda c: c.executescript("INSERT INTO t(v) VALUES (1);"),
        lambda c: c.execute("ROLLBACK"),
    ],
)
async def test_closures_may_not_end_the_transaction(store: Store, ends_it: object) -> None:
    """commit, rollback and executescript in a closure are refused as the bugs that they are."""
    async with run_store(store):
        with pytest.raises(RuntimeError):
            await store.write(ends_it)  # type: ignore[arg-type]
        assert await store.write(partial(insert, "a")) == 1


TOO_LARGE = 4 * PAGES_BYTES
"""More than the free pages that the store keeps."""


async def test_full_disk_is_the_writers_error_alone(store: Store) -> None:
    """When the disk is full the caller is told and the store goes on; small writes still fit."""

    def limit(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 10}")

    outcomes: dict[object, object] = {}

    async def write(name: str, value: object) -> None:
        try:
            outcomes[name] = await store.write(partial(insert, value))
        except EngineError as error:
            outcomes[name] = error

    async with run_store(store):
        await store.write(limit)
        with pytest.raises(EngineError, match=r"cannot write .*state.db.* full"):
            await store.write(partial(insert, b"x" * TOO_LARGE))
        held = HeldWriter()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, held)
            await held.wait_entered()
            nursery.start_soon(write, "small", "s")
            nursery.start_soon(write, "large", b"x" * TOO_LARGE)
            nursery.start_soon(write, "small too", "t")
            await trio.testing.wait_all_tasks_blocked()
            held.release.set()
        assert isinstance(outcomes.pop("large"), EngineError)
        assert sorted(map(str, outcomes.values())) == ["1", "2"]
        assert sorted(map(str, await store.read(values))) == ["s", "t"]


async def test_busy_loop_does_not_starve_the_writer(store: Store) -> None:
    """Writes get through beside a loop that never waits (without help: seconds for each)."""
    async with run_store(store), trio.open_nursery() as nursery:

        async def spin() -> None:
            while True:
                start = time.perf_counter()
                while time.perf_counter() - start < 0.0005:
                    pass
                await trio.lowlevel.checkpoint()

        nursery.start_soon(spin)
        for n in range(300):
            await store.write(partial(insert, n))
        nursery.cancel_scope.cancel()
