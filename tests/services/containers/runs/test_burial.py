"""A start beside containerd's burial of the run before: it waits, is tried again, or is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import trio
import trio.testing

from services.containers.runs.burial import (
    BUNDLE_LIMIT_S,
    RECENT_S,
    SETTLE_S,
    SHIM_LIMIT_S,
    TRIES,
    Burials,
)
from services.errors import EngineError, NotFound

ID = "abc"
THERE = "tasks.Create: failed to start shim: mkdir /run/x/moby/abc: file exists: unknown"
CREATE_HIT = (
    "OCI runtime create failed: runc create failed: unable to start container process: "
    "error during container init: unable to store init state: %!w(<nil>): unknown"
)
START_HIT = "OCI runtime start failed: cannot start a container that has stopped: unknown"
MISTAKE = (
    "OCI runtime create failed: runc create failed: unable to start container process: "
    'exec: "nothing": executable file not found in $PATH: unknown'
)


class FakeShims:
    """Each look finds what is next in `looks`, the last of them for good."""

    def __init__(self, *looks: dict[str, int]) -> None:
        self._looks = list(looks) or [{}]
        self.ended: list[tuple[str, int]] = []

    def find(self) -> dict[str, int]:
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    def end(self, container_id: str, pid: int) -> bool:
        self.ended.append((container_id, pid))
        return True


class Containerd:
    """A task whose calls fail with what is next, and succeed when nothing is."""

    def __init__(self, *, create: tuple[str, ...] = (), start: tuple[str, ...] = ()) -> None:
        self._create: Iterator[str] = iter(create)
        self._start: Iterator[str] = iter(start)
        self.calls: list[str] = []

    async def create(self) -> int:
        self.calls.append("create")
        self._fail(self._create)
        return len(self.calls)

    async def start(self) -> None:
        self.calls.append("start")
        self._fail(self._start)

    async def remove(self) -> None:
        self.calls.append("remove")

    def _fail(self, errors: Iterator[str]) -> None:
        for text in errors:
            raise EngineError(text)


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock would jump while a thread is at work, and no task runs."""

    async def at_once(call: Callable[..., object], *arguments: object, **_: object) -> object:
        await trio.lowlevel.checkpoint()
        return call(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)


def burials(shims: FakeShims | None = None, *, recent: bool = True) -> Burials:
    made = Burials(shims or FakeShims(), disk=trio.CapacityLimiter(1))
    if recent:
        made.note(ID)
    return made


async def run(known: Burials, containerd: Containerd) -> int:
    """Create and start; the pid of what runs in the end."""
    pid = await known.create(ID, containerd.create, remove=containerd.remove)
    new = await known.start(
        ID, containerd.start, create=containerd.create, remove=containerd.remove
    )
    return new or pid


async def test_a_task_that_was_taken_away_is_made_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """While it was created, and between its creation and its start; what is left goes first."""
    containerd = Containerd(create=(CREATE_HIT,), start=(START_HIT,))
    pid = await run(burials(), containerd)
    again = ["remove", "create"]
    assert containerd.calls == ["create", *again, "start", *again, "start"]
    assert pid == 6  # the last one's


async def test_a_shim_that_containerd_forgot_is_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It holds the bundle that the next try needs, and nobody else would ever end it."""
    shims = FakeShims({ID: 7}, {})
    await run(burials(shims), Containerd(create=(CREATE_HIT,)))
    assert shims.ended == [(ID, 7)]


@pytest.mark.parametrize("error", [CREATE_HIT, MISTAKE])
async def test_without_an_end_lately_a_failure_is_told_at_once(
    autojump_clock: trio.testing.MockClock, error: str
) -> None:
    """There is nothing that could have been buried."""
    containerd = Containerd(create=(error,))
    with pytest.raises(EngineError):
        await run(burials(recent=False), containerd)
    known = burials()
    await trio.sleep(RECENT_S + 1)
    with pytest.raises(EngineError):
        await run(known, Containerd(create=(error,)))
    assert containerd.calls == ["create"]


async def test_a_users_mistake_is_told_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Also soon after an end: a restart policy with a wrong command is no burial."""
    containerd = Containerd(create=(MISTAKE,))
    with pytest.raises(EngineError, match="executable file not found"):
        await run(burials(), containerd)
    assert containerd.calls == ["create"]


async def test_what_fails_again_and_again_is_told(autojump_clock: trio.testing.MockClock) -> None:
    """The tries are bounded, of the creation and of the start."""
    for containerd in (Containerd(create=(CREATE_HIT,) * 9), Containerd(start=(START_HIT,) * 9)):
        with pytest.raises(EngineError):
            await run(burials(), containerd)
        assert containerd.calls.count("create") == TRIES


async def test_a_start_waits_for_the_shim_of_the_last_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Until it is gone and containerd has heard of it; but not for one that is stuck."""
    began = trio.current_time()
    await burials(FakeShims({ID: 7}, {ID: 7}, {"other": 8})).wait(ID)
    assert SETTLE_S < trio.current_time() - began < 1
    began = trio.current_time()
    await burials(FakeShims({ID: 7})).wait(ID)
    assert trio.current_time() - began == pytest.approx(SHIM_LIMIT_S)


async def test_long_after_an_end_nothing_is_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nor for a container that never ran; and ends of long ago are not remembered."""
    known = burials(FakeShims({ID: 7}))
    await trio.sleep(RECENT_S + 1)
    began = trio.current_time()
    await known.wait(ID)
    await known.wait("other")
    assert trio.current_time() == began
    known.note("other")
    assert list(known._ended) == ["other"]


async def test_a_bundle_that_is_being_buried_is_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A create that was cut off leaves its bundle for a moment, or for good: then it is told."""
    containerd = Containerd(create=(THERE,) * 3)
    assert await run(burials(recent=False), containerd)
    assert containerd.calls == ["create"] * 4 + ["start"]
    began = trio.current_time()
    with pytest.raises(EngineError, match="file exists"):
        await run(burials(recent=False), Containerd(create=(THERE,) * 999))
    assert trio.current_time() - began == pytest.approx(BUNDLE_LIMIT_S, abs=1)


def test_a_task_that_containerd_forgot_counts_as_buried() -> None:
    """The burial takes the new task off containerd's list."""

    async def main() -> None:
        assert burials().has_hit(ID, NotFound("no running task found"))

    trio.run(main)
