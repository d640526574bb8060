"""services.events.stream: after every subscription the engine looks around, then hears all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from services.errors import Unavailable
from services.events import EventStream
from services.events.stream import RETRY_S


class FakeContainerd:
    """A source of events, and its gate; `break_stream` is what its crash looks like."""

    def __init__(self) -> None:
        self.ready = trio.Event()
        self.ready.set()
        self.filters: list[tuple[str, ...]] = []
        self._send: trio.MemorySendChannel[str | Exception] | None = None

    async def wait_ready(self) -> None:
        await self.ready.wait()

    @asynccontextmanager
    async def subscribe(self, *filters: str) -> AsyncIterator[AsyncIterator[str]]:
        self.filters.append(filters)
        self._send, receive = trio.open_memory_channel[str | Exception](100)
        with receive:
            yield self._events(receive)

    async def _events(
        self, receive: trio.MemoryReceiveChannel[str | Exception]
    ) -> AsyncIterator[str]:
        async for item in receive:
            if isinstance(item, Exception):
                raise item
            yield item

    def happens(self, item: str | Exception) -> None:
        assert self._send is not None
        self._send.send_nowait(item)

    def end_stream(self) -> None:
        assert self._send is not None
        self._send.close()


class Recorder:
    """A handler that writes down what it was told, and when."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fails_with: Exception | None = None
        self.busy = trio.Lock()

    async def task_event(self, event: str) -> None:
        await self._note(event)

    async def reconcile(self) -> None:
        await self._note(f"reconcile at {trio.current_time():g}")
        if self.fails_with is not None:
            raise self.fails_with

    async def _note(self, what: str) -> None:
        self.busy.acquire_nowait()  # raises if calls overlap
        await trio.lowlevel.checkpoint()
        self.busy.release()
        self.told.append(what)


@asynccontextmanager
async def streaming(
    containerd: FakeContainerd, recorder: Recorder
) -> AsyncIterator[EventStream[str]]:
    stream = EventStream(
        containerd, containerd, recorder, namespace="moby", topics=["/tasks/oom", "/tasks/paused"]
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(stream.run)
        yield stream
        nursery.cancel_scope.cancel()


async def test_looks_around_then_hands_on(autojump_clock: trio.testing.MockClock) -> None:
    """Reconcile comes before the first event, and events in their order."""
    containerd, recorder = FakeContainerd(), Recorder()
    async with streaming(containerd, recorder) as stream:
        await stream.wait_reconciled()
        containerd.happens("one")
        containerd.happens("two")
        await trio.sleep(60)
    assert recorder.told == ["reconcile at 0", "one", "two"]
    assert containerd.filters == [
        (
            'namespace=="moby",topic=="/tasks/oom"',
            'namespace=="moby",topic=="/tasks/paused"',
        )
    ]


@pytest.mark.parametrize("how", ["breaks", "ends"])
async def test_subscribes_again(autojump_clock: trio.testing.MockClock, how: str) -> None:
    """When the stream breaks or ends, it is begun anew at the gate, and reconciled again."""
    containerd, recorder = FakeContainerd(), Recorder()
    async with streaming(containerd, recorder):
        await trio.sleep(10)
        containerd.happens("one")
        await trio.sleep(1)
        containerd.ready = trio.Event()
        if how == "breaks":
            containerd.happens(Unavailable("containerd is away"))
        else:
            containerd.end_stream()
        await trio.sleep(10)
        assert recorder.told[-1] == "one"
        containerd.ready.set()
        await trio.sleep(0.5)
        containerd.happens("two")
        await trio.sleep(0.1)
    assert recorder.told == ["reconcile at 0", "one", "reconcile at 21", "two"]


async def test_ready_without_containerd(autojump_clock: trio.testing.MockClock) -> None:
    """The child is ready though containerd is away; its first picture is waited for apart."""
    containerd, recorder = FakeContainerd(), Recorder()
    containerd.ready = trio.Event()
    async with streaming(containerd, recorder) as stream:
        await trio.sleep(60)
        assert not stream.has_reconciled
        containerd.ready.set()
        await stream.wait_reconciled()


async def test_reconcile_that_cannot_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    """containerd going away under reconcile leads to the next subscription, not to a crash."""
    containerd, recorder = FakeContainerd(), Recorder()
    recorder.fails_with = Unavailable("containerd is away")
    async with streaming(containerd, recorder) as stream:
        await trio.sleep(3.2 * RETRY_S)
        assert not stream.has_reconciled
        recorder.fails_with = None
        await stream.wait_reconciled()
    assert len(recorder.told) == 5


async def test_handlers_bug_ends_the_child(autojump_clock: trio.testing.MockClock) -> None:
    """An error that nobody planned for is the supervisor's, not swallowed."""
    containerd, recorder = FakeContainerd(), Recorder()
    recorder.fails_with = ZeroDivisionError()
    with pytest.raises(ExceptionGroup) as caught:
        async with streaming(containerd, recorder):
            await trio.sleep(60)
    assert caught.group_contains(ZeroDivisionError)
