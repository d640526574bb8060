"""services.events.bus and .subscription: one order for all, no gap, no double, no loss."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import outcome
import pytest
import trio
import trio.testing

from services.errors import EngineError, Unavailable
from services.events import Event, EventBus, EventFilters, Gap, history
from services.events.bus import SOON_LIMIT, TRIM_BATCH
from services.events.subscription import PAGE
from services.store import Store

from .conftest import event, run_bus, take, take_all

R = TypeVar("R")


async def commit_all(bus: EventBus, count: int, *, start: int = 1, each: int = 1) -> None:
    for n in range(start, start + count, each):
        await bus.commit(*(event(i) for i in range(n, min(n + each, start + count))))


async def trimmed(store: Store, limit: int) -> history.Bounds:
    """What is kept once the history is below its limit, and no trimming is under way."""
    with trio.fail_after(60):
        while True:
            # The writer's thread is seen by nobody.
            await trio.testing.wait_all_tasks_blocked(0.01)
            kept = await store.read(history.bounds)
            # One that was begun goes down to the limit itself, some at a time.
            count = kept.newest - kept.oldest + 1
            if count < limit + TRIM_BATCH:
                await store.write(lambda connection: None)  # after what it has been asked for
                if await store.read(history.bounds) == kept:
                    return kept


class HeldStore:
    """A store whose commits are on disk before, and told only after, `release` is set."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.release: trio.Event | None = None
        self.stored = trio.Event()

    async def write(
        self,
        closure: Callable[[sqlite3.Connection], R],
        *,
        then: Callable[[R], None] | None = None,
    ) -> R:
        """Store, wait for the release, tell."""
        result = await self._store.write(closure)
        if self.release is not None:
            self.stored.set()
            await self.release.wait()
        if then is not None:
            then(result)
        return result

    def write_later(
        self,
        closure: Callable[[sqlite3.Connection], R],
        *,
        settled: Callable[[outcome.Maybe[R]], None],
    ) -> bool:
        """As the store."""
        return self._store.write_later(closure, settled=settled)

    async def read(self, closure: Callable[[sqlite3.Connection], R]) -> R:
        """As the store."""
        return await self._store.read(closure)


async def test_subscribers_get_what_comes(store: Store) -> None:
    """Without times, a subscriber gets what is committed from then on, and nothing older."""
    async with run_bus(EventBus(store), store) as bus:
        await bus.commit(event(1))
        async with bus.subscribe() as one, bus.subscribe() as two:
            await bus.commit(event(2), event(3))
            await bus.commit(event(4))
            assert await take(one, 3) == await take(two, 3) == [2, 3, 4]
            assert bus.subscribers == 2
        assert bus.subscribers == 0
        assert bus.published == 4


async def test_change_and_event_share_their_fate(store: Store) -> None:
    """The change is stored with its event, or neither is, and nobody is told of what is not."""

    def change(connection: sqlite3.Connection) -> str:
        connection.execute("CREATE TABLE IF NOT EXISTS things (x)")
        connection.execute("INSERT INTO things VALUES (1)")
        return "changed"

    def fail(connection: sqlite3.Connection) -> None:
        change(connection)
        raise KeyError("no")

    async with run_bus(EventBus(store), store) as bus, bus.subscribe() as channel:
        assert await bus.commit(event(1), change=change) == "changed"
        with pytest.raises(KeyError):
            await bus.commit(event(2), change=fail)
        await bus.commit(event(3))
        items = [await channel.receive() for _ in range(2)]
        assert [(item.seq, item.time_ns) for item in items if isinstance(item, Event)] == [
            (1, 1),
            (2, 3),  # the number that failed is given again
        ]
        count = await store.read(lambda c: c.execute("SELECT count(*) FROM things").fetchone())
        assert count == (1,)


async def test_events_soon_come_in_the_order_of_calls(store: Store) -> None:
    """Those that nobody waits for, before what is committed after them; also if that fails."""

    def fail(connection: sqlite3.Connection) -> None:
        raise KeyError("no")

    async with run_bus(EventBus(store), store) as bus, bus.subscribe() as channel:
        await bus.commit_soon(event(1))
        await bus.commit_soon(event(2), event(3))
        await bus.commit(event(4))
        await bus.commit_soon(event(5))
        with pytest.raises(KeyError):
            await bus.commit(event(6), change=fail)
        await bus.commit_soon(event(7))
        assert await take(channel, 6) == [1, 2, 3, 4, 5, 7]


async def test_events_soon_are_there_for_who_asks_afterwards(store: Store) -> None:
    """A subscription sees what was caused before it, and the bus ends without losing any."""
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        bus = EventBus(store)
        async with trio.open_nursery() as busy:
            await busy.start(bus.run)
            await bus.commit_soon(event(1))
            async with bus.subscribe(since_ns=0, until_ns=10) as channel:
                assert await take_all(channel) == [1]
            await bus.commit_soon(event(2))
            busy.cancel_scope.cancel()
        assert len(await store.read(partial(history.page, after_seq=0, limit=9))) == 2
        nursery.cancel_scope.cancel()


async def test_many_events_soon_are_bounded(store: Store) -> None:
    """Who causes more than may wait, waits."""
    async with run_bus(EventBus(store), store) as bus:
        for n in range(1, 2 * SOON_LIMIT + 10):
            await bus.commit_soon(event(n))
            assert len(bus._soon) <= SOON_LIMIT
        assert bus.published >= SOON_LIMIT


async def test_order_under_concurrency(store: Store) -> None:
    """However many publish at once, every subscriber sees each number once and in order."""
    seen: list[list[int]] = [[] for _ in range(5)]
    async with run_bus(EventBus(store, recent_limit=64), store) as bus:

        async def follow(mine: list[int], ready: trio.TaskStatus[None]) -> None:
            async with bus.subscribe() as channel:
                ready.started()
                while len(mine) < 2000:
                    item = await channel.receive()
                    assert isinstance(item, Event)
                    mine.append(item.seq)

        async with trio.open_nursery() as nursery:
            for mine in seen:
                await nursery.start(
                    lambda mine=mine, task_status=None: follow(mine, task_status),
                )
            for i in range(50):
                nursery.start_soon(partial(commit_all, bus, 40, start=i * 40))
    assert all(mine == list(range(1, 2001)) for mine in seen)


async def test_caller_sees_its_own_event_told(store: Store) -> None:
    """When commit returns, subscribers have the event: reading needs no further wait."""
    async with run_bus(EventBus(store), store) as bus, bus.subscribe() as channel:
        await bus.commit(event(1))
        assert bus.tail == 1
        assert await take(channel, 1) == [1]


async def test_history_joins_the_present_without_seam(store: Store) -> None:
    """While events come in at full speed, since= gives each number once, in order."""
    async with run_bus(EventBus(store, recent_limit=32), store) as bus:
        await commit_all(bus, 600, each=50)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(commit_all, bus, 1000, start=601))
            await trio.sleep(0.01)
            for _ in range(5):
                async with bus.subscribe(since_ns=101) as channel:
                    assert await take(channel, 1000) == list(range(101, 1101))


async def test_reader_of_the_disk_does_not_overtake_what_is_told(store: Store) -> None:
    """Events on disk that nobody was told of yet come once, when they are told."""
    held = HeldStore(store)
    async with run_bus(EventBus(held, recent_limit=1), store) as bus:
        await commit_all(bus, 5)
        async with bus.subscribe(since_ns=1) as channel, trio.open_nursery() as nursery:
            held.release = trio.Event()
            nursery.start_soon(partial(commit_all, bus, 3, start=6, each=3))
            await held.stored.wait()
            assert await take(channel, 5) == [1, 2, 3, 4, 5]
            with trio.move_on_after(0.1):
                pytest.fail(f"told before its commit ended: {await take(channel, 1)}")
            held.release.set()
            assert await take(channel, 3) == [6, 7, 8]


async def test_since_and_until_are_inclusive(store: Store) -> None:
    """History is what happened from since to until, both included; a past until ends it."""
    async with run_bus(EventBus(store, now_ns=lambda: 1000), store) as bus:
        await commit_all(bus, 10)
        for since, until, expected in [
            (3, 7, [3, 4, 5, 6, 7]),
            (10, 10, [10]),
            (11, 20, []),
            (None, 3, [1, 2, 3]),
            (0, 999, list(range(1, 11))),
        ]:
            async with bus.subscribe(since_ns=since, until_ns=until) as channel:
                assert await take_all(channel) == expected, (since, until)


async def test_time_may_run_backwards(store: Store) -> None:
    """A clock that was set back hides nothing: each event is judged by its own time."""
    async with run_bus(EventBus(store, now_ns=lambda: 1000), store) as bus:
        for n in (5, 9, 2, 7, 3):
            await bus.commit(event(n))
        async with bus.subscribe(since_ns=3, until_ns=7) as channel:
            assert await take_all(channel) == [5, 7, 3]


async def test_until_in_the_future_ends_the_stream(
    store: Store, mock_clock: trio.testing.MockClock
) -> None:
    """The stream ends when until has passed, and tells nothing that happened after it."""
    second = 1_000_000_000
    async with run_bus(EventBus(store, now_ns=lambda: 100 * second), store) as bus:
        await bus.commit(event(1))
        async with bus.subscribe(until_ns=110 * second) as channel:
            await bus.commit(event(105 * second), event(111 * second), event(110 * second))
            assert await take(channel, 3) == [1, 105 * second, 110 * second]
            async with trio.open_nursery() as nursery:

                async def read_end() -> None:
                    with pytest.raises(trio.EndOfChannel):
                        await channel.receive()

                nursery.start_soon(read_end)
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(9.9)
                await trio.testing.wait_all_tasks_blocked()
                assert nursery.child_tasks
                mock_clock.jump(0.2)


async def test_replay_survives_a_restart(store: Store) -> None:
    """A new bus on the same file goes on numbering and replays what the old one kept."""
    async with run_bus(EventBus(store), store) as bus:
        await commit_all(bus, 5)
    again = Store(store._path, store._migrations)
    async with (
        run_bus(EventBus(again), again) as bus,
        bus.subscribe(since_ns=2) as channel,
        bus.subscribe() as live,
    ):
        await bus.commit(event(6, attributes={"name": "ä", "x": "1"}))
        items = [await channel.receive() for _ in range(5)]
        assert [getattr(item, "seq", None) for item in items] == [2, 3, 4, 5, 6]
        assert items[-1] == event(6, attributes={"name": "ä", "x": "1"}, seq=6)
        assert await take(live, 1) == [6]


async def test_filters_apply_to_history_and_present(store: Store) -> None:
    """Unwanted events pass unseen in both."""
    filters = EventFilters({"event": ["die"]})
    async with run_bus(EventBus(store), store) as bus:
        await bus.commit(event(1), event(2, action="die"))
        async with bus.subscribe(since_ns=0, filters=filters) as channel:
            await bus.commit(event(3), event(4, action="die"))
            assert await take(channel, 2) == [2, 4]


async def test_slow_reader_reads_on_from_disk(store: Store) -> None:
    """A reader that stopped holds no more than a page, and loses nothing that is still kept."""
    async with run_bus(EventBus(store, recent_limit=16), store) as bus, bus.subscribe() as channel:
        await bus.commit(event(1))
        assert await take(channel, 1) == [1]
        await commit_all(bus, 3000, start=2, each=100)
        assert len(channel._ready) == 0
        assert await take(channel, 1) == [2]
        assert len(channel._ready) < PAGE
        assert await take(channel, 2999) == list(range(3, 3002))


async def test_gap_where_the_history_ends(store: Store) -> None:
    """What was trimmed before a reader came to it is marked, with its number; then it goes on."""
    bus = EventBus(store, history_limit=100, recent_limit=16)
    async with run_bus(bus, store), bus.subscribe() as channel:
        await bus.commit(event(1))
        assert await take(channel, 1) == [1]
        await commit_all(bus, 3 * TRIM_BATCH, start=2, each=100)
        kept = await trimmed(store, 100)
        assert kept.newest == 3 * TRIM_BATCH + 1
        assert await take(channel, 2) == [Gap(missed=kept.oldest - 2), kept.oldest]
        rest = kept.newest - kept.oldest
        assert await take(channel, rest) == list(range(kept.oldest + 1, kept.newest + 1))


async def test_trimmed_past_is_no_gap_for_who_comes_later(store: Store) -> None:
    """since= before the history's begin starts at its begin, without a mark."""
    bus = EventBus(store, history_limit=10, recent_limit=16, now_ns=lambda: 10**9)
    async with run_bus(bus, store):
        await commit_all(bus, 2 * TRIM_BATCH, each=100)
        oldest = (await trimmed(store, 10)).oldest
        assert oldest > 1
        async with bus.subscribe(since_ns=0, until_ns=oldest) as channel:
            assert await take_all(channel) == [oldest]


async def test_subscribers_outlive_the_bus_child(store: Store) -> None:
    """While `run` is down events are committed and told; its restart changes nothing for them."""
    bus = EventBus(store)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        with trio.CancelScope() as first_life:
            async with trio.open_nursery() as inner:
                await inner.start(bus.run)
                first_life.cancel()
        async with bus.subscribe() as channel:
            await bus.commit(event(1))
            assert await take(channel, 1) == [1]
            await nursery.start(bus.run)
            await bus.commit(event(2))
            assert await take(channel, 1) == [2]
        nursery.cancel_scope.cancel()


async def test_begun_anew_after_damage(store: Store) -> None:
    """When the database was set aside, numbering starts over and readers get what is new."""
    bus = EventBus(store)
    async with run_bus(bus, store):
        await commit_all(bus, 30, each=10)
    store._path.write_bytes(b"garbage" * 1000)
    async with run_bus(bus, store), bus.subscribe() as channel:
        await bus.commit(event(101), event(102))
        assert await take(channel, 2) == [101, 102]
        async with bus.subscribe(since_ns=0) as replay:
            assert await take(replay, 2) == [101, 102]


async def test_subscribing_before_the_start_waits_then_says_so(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    """A bus that does not start within 5 s is Unavailable."""
    with pytest.raises(Unavailable):
        async with EventBus(store).subscribe():
            pass
    assert trio.current_time() == 5.0


async def test_trim_that_fails_is_tried_again(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    """A full disk while trimming ends nothing: the bus warns, and trims later."""
    failures = [EngineError("disk is full")]
    trimmed = trio.Event()

    class FailingStore(Store):
        async def write(self, closure, *, then=None):  # type: ignore[no-untyped-def]
            if then is None and failures:
                raise failures.pop()
            result = await super().write(closure, then=then)
            if then is None:
                trimmed.set()
            return result

    failing = FailingStore(store._path, store._migrations)
    bus = EventBus(failing, history_limit=10)
    async with run_bus(bus, failing):
        await commit_all(bus, 2 * TRIM_BATCH, each=100)
        await trimmed.wait()
        assert not failures
        assert (await failing.read(history.bounds)).oldest > 1


async def test_closed_channel_says_so(store: Store) -> None:
    """Reading after the block is an error, not a wait."""
    async with run_bus(EventBus(store), store) as bus:
        async with bus.subscribe() as channel:
            pass
        with pytest.raises(trio.ClosedResourceError):
            await channel.receive()


PUBLISHER = """
import sys, time, trio
from pathlib import Path
from services.events import MIGRATION, Event, EventBus
from services.store import Store

async def main():
    store = Store(Path(sys.argv[1]), [MIGRATION])
    bus = EventBus(store)
    async def publish():
        while True:
            e = Event(type="container", action="start", actor_id="x", time_ns=time.time_ns())
            await bus.commit(e, e)
            print(bus.tail, flush=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await nursery.start(bus.run)
        for _ in range(4):
            nursery.start_soon(publish)

trio.run(main)
"""


def test_numbers_have_no_gaps_over_kill_9(tmp_path: Path) -> None:
    """After several kill -9 the numbers are 1 to n, and n is at least what was acknowledged."""
    path = tmp_path / "state.db"
    highest = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(50)]
        process.kill()
        lines += process.stdout.readlines()
        process.wait()
        highest = max([highest, *(int(line) for line in lines if line.endswith("\n"))])
    with sqlite3.connect(path) as connection:
        seqs = [seq for (seq,) in connection.execute("SELECT seq FROM events ORDER BY seq")]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= highest
    assert len(seqs) % 2 == 0  # two a commit: never half of one
