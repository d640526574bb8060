"""services.observer.history: reports kept within a bound, each reader with a place of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from services.errors import InvalidParameter
from services.observer.history import Missed, ReportHistory, SeenReport, one_line, traceback_text
from services.observer.report_stream import parse_id, report_events
from supervisor.otp import ReportKind
from tests.services.observer.support import ID, Boom, SmallTree
from tests.support.clocks import wait_settled


@asynccontextmanager
async def observed(kept: int = 100) -> AsyncIterator[tuple[SmallTree, ReportHistory]]:
    """A tree that runs, and its history."""
    tree = SmallTree()
    history = ReportHistory(tree.root, kept=kept)
    async with trio.open_nursery() as nursery:
        await nursery.start(history.run)
        async with tree.run():
            await wait_settled()
            yield tree, history
        nursery.cancel_scope.cancel()


async def crash(tree: SmallTree, child: str, times: int = 1) -> None:
    for _ in range(times):
        tree.crash(child)
        await wait_settled()  # a traceback is made in a thread


async def test_a_crash_is_kept_as_text() -> None:
    """With where it happened, one line of why, and the traceback; the child is ready again."""
    async with observed() as (tree, history):
        reader = history.reader()
        await crash(tree, "images")
        ended, ready = await reader.next(), await reader.next()
        assert isinstance(ended, SeenReport)
        assert isinstance(ready, SeenReport)
        assert (ended.kind, ended.path) == (ReportKind.CHILD_TERMINATED, "root/engine/images")
        assert ended.error == "Boom: images was told to"
        assert "raise Boom(" in ended.traceback
        assert 'File "tests/services/observer/support.py"' in ended.traceback
        assert (ready.kind, ready.restarts) == (ReportKind.PROGRESS, 1)
        assert history.crashes == (ended,)


async def test_what_happened_is_counted_by_place() -> None:
    """A container's parts are counted together with those of all other containers."""
    async with observed() as (tree, history):
        await crash(tree, "images", 2)
        await crash(tree, "pump")
    running = "root/engine/containers/running/*"
    assert history.restarts.by_labels == {("root/engine", "images"): 2, (running, "pump"): 1}
    assert history.reports.by_labels == {
        ("root/engine", "child_terminated"): 2,
        (running, "child_terminated"): 1,
    }


async def test_each_reader_sees_all_in_order() -> None:
    """One that comes later, with the number that it knows, misses nothing, sees nothing twice."""
    async with observed() as (tree, history):
        early = history.reader()
        await crash(tree, "images", 2)
        seen = [await early.next() for _ in range(4)]
        numbers = [one.number for one in seen if isinstance(one, SeenReport)]
        assert numbers == list(range(numbers[0], numbers[0] + 4))
        later = history.reader(after=numbers[1])
        assert [await later.next() for _ in range(2)] == seen[2:]


async def test_a_reader_that_falls_behind_is_told() -> None:
    """Of the newest three nothing is lost; of the others it hears how many there were."""
    async with observed(kept=3) as (tree, history):
        reader = history.reader()
        before = history.newest
        await crash(tree, "images", 4)
        missed = await reader.next()
        assert missed == Missed(count=5, next_number=before + 6)
        rest = [await reader.next() for _ in range(3)]
        assert [r.number for r in rest if isinstance(r, SeenReport)] == [
            before + 6,
            before + 7,
            before + 8,
        ]


async def test_it_goes_on_after_its_own_restart() -> None:
    """What it knew stays; what was reported meanwhile is not known, as nobody listened."""
    tree = SmallTree()
    history = ReportHistory(tree.root)
    async with tree.run():
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                await nursery.start(history.run)
                await crash(tree, "images")
                nursery.cancel_scope.cancel()
    assert [report.number for report in history.crashes] == [1, 3]


def test_texts_are_bounded() -> None:
    """One line of an error; beginning and end of a traceback that is too long."""
    assert one_line(Boom("a\nb")) == "Boom: a"
    assert one_line(Boom()) == "Boom"
    assert one_line(ExceptionGroup("nursery", [ExceptionGroup("x", [Boom("a")])])) == "Boom: a"
    two = ExceptionGroup("nursery", [Boom("a"), Boom("b")])
    assert one_line(two) == "ExceptionGroup: nursery (2 sub-exceptions)"
    assert len(one_line(Boom("x" * 10_000))) == 500
    text = traceback_text(Boom("x" * 100_000 + "the end"))
    assert len(text) < 33_000
    assert text.endswith("the end\n")
    assert "characters left out" in text


async def read(events: AsyncIterator[bytes], count: int) -> str:
    return b"".join([await anext(events) for _ in range(count)]).decode()


async def test_the_stream_is_server_sent_events() -> None:
    """A hello with the place where it begins, then an event for each report, with its id."""
    async with observed() as (tree, history):
        events = report_events(history)
        text = await read(events, 1)
        assert text.startswith("retry: ")
        assert f'event: hello\nid: {history.run_id}-{history.newest}\ndata: {{"run"' in text
        await crash(tree, "pump")
        text = await read(events, 2)
        assert f"event: report\nid: {history.run_id}-{history.newest}\n" in text
        path = f"root/engine/containers/running/{ID}/pump"
        assert f'"path":"{path}"' in text
        assert text.endswith("\n\n")


async def test_the_stream_is_taken_up_by_id() -> None:
    """After a known id; of a daemon that is gone it says so, and begins with what is kept."""
    async with observed() as (tree, history):
        place = (history.run_id, history.newest)
        await crash(tree, "images")
        text = await read(report_events(history, place), 2)
        assert f"id: {place[0]}-{place[1] + 1}\n" in text
        assert "hello" not in text
        text = await read(report_events(history, ("00000000", 7)), 2)
        assert text.index("event: reset") < text.index(f"id: {history.run_id}-1\n")


async def test_the_stream_says_what_was_missed() -> None:
    """The id of that event is the place from which it goes on."""
    async with observed(kept=1) as (tree, history):
        place = (history.run_id, history.newest)
        await crash(tree, "images")
        text = await read(report_events(history, place), 2)
        assert f'event: missed\nid: {place[0]}-{place[1] + 1}\ndata: {{"count":1}}' in text


async def test_a_silent_stream_is_heard(autojump_clock: MockClock) -> None:
    """A comment every 15 s, so that one that is dead is noticed."""
    history = ReportHistory(SmallTree().root)
    events = report_events(history)
    await anext(events)
    assert await anext(events) == b": still here\n\n"
    assert trio.current_time() == 15.0


@pytest.mark.parametrize("text", ["x", "-1", "12345678", "12345678-", "1234567-1", "12345678-x"])
def test_ids_that_are_none(text: str) -> None:
    """Refused, rather than taken for a place."""
    with pytest.raises(InvalidParameter):
        parse_id(text)
