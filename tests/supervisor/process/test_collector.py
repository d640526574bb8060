"""When Python looks for cycles, and at what."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from supervisor.process import collector
from supervisor.process.collector import REST_LIMIT_S, SLOW_S, WHOLE_EVERY_S, Collector


class FakeGc:
    """Python's `gc`, as far as it is used; `did` is what was asked of it."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[..., None]] = []
        self.did: list[str] = []
        self.is_on = False

    def isenabled(self) -> bool:
        return self.is_on

    def enable(self) -> None:
        self.is_on = True
        self.did.append("enable")

    def freeze(self) -> None:
        self.did.append("freeze")

    def unfreeze(self) -> None:
        self.did.append("unfreeze")

    def collect(self) -> None:
        self.did.append("collect")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeGc:
    """It stands in for the real one."""
    fake = FakeGc()
    monkeypatch.setattr(collector, "gc", fake)
    return fake


def look(subject: Collector, now_s: list[float], *, generation: int, takes_s: float) -> None:
    """A collection from its begin to its end."""
    subject.note("start", {"generation": generation})
    now_s[0] += takes_s
    subject.note("stop", {"generation": generation, "collected": 0, "uncollectable": 0})


async def test_the_rest_ends_when_the_engine_is_ready_or_after_its_limit(
    fake: FakeGc, autojump_clock: trio.testing.MockClock
) -> None:
    """Once: what was there is looked at no more."""
    subject = Collector()
    subject.end_rest()
    subject.end_rest()
    assert fake.did == ["freeze", "enable"]
    fake.is_on = False
    with trio.move_on_after(REST_LIMIT_S - 1):
        await Collector().run()
    assert not fake.isenabled()
    with trio.move_on_after(REST_LIMIT_S + 1):
        await Collector().run()
    assert fake.isenabled()
    assert fake.callbacks == []


@pytest.mark.parametrize(
    ("generation", "takes_s", "is_set_aside"),
    [(2, SLOW_S, True), (2, SLOW_S / 2, False), (1, 1.0, False), (0, 1.0, False)],
)
def test_what_outlived_a_long_look_at_everything_is_set_aside(
    fake: FakeGc, generation: int, takes_s: float, is_set_aside: bool
) -> None:
    """Not what a look at the youngest has left, nor where looking costs nothing."""
    now_s = [100.0]
    look(Collector(lambda: now_s[0]), now_s, generation=generation, takes_s=takes_s)
    assert fake.did == (["freeze"] if is_set_aside else [])


async def test_what_was_set_aside_is_looked_at_now_and_then(
    fake: FakeGc, autojump_clock: trio.testing.MockClock
) -> None:
    """Cycles may have died in it. Where nothing was, nobody pays for that."""
    now_s = [0.0]
    subject = Collector(lambda: now_s[0])
    fake.is_on = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject.run)
        await trio.sleep(REST_LIMIT_S + WHOLE_EVERY_S + 1)
        assert fake.did == []
        look(subject, now_s, generation=2, takes_s=1.0)
        await trio.sleep(2 * WHOLE_EVERY_S)
        assert fake.did == ["freeze", "unfreeze", "collect"]
        nursery.cancel_scope.cancel()
