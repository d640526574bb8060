"""services.containers.launch: what a start does when containerd is not done with the last one."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from services.containers.launch import BURIAL_LIMIT_S, _once_buried
from services.errors import EngineError

THERE = "tasks.Create: failed to start shim: mkdir /run/x/moby/abc: file exists: unknown"


async def test_a_bundle_that_is_being_buried_is_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A create that was cut off leaves its bundle for a moment."""
    tries = 0

    async def create() -> int:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise EngineError(THERE)
        return 42

    assert await _once_buried(create) == 42
    assert tries == 4


@pytest.mark.parametrize(("text", "waited_s"), [(THERE, BURIAL_LIMIT_S), ("no such file", 0.0)])
async def test_other_failures_and_lasting_ones_are_told(
    autojump_clock: trio.testing.MockClock, text: str, waited_s: float
) -> None:
    """At once what is something else, in the end what does not go away."""

    async def create() -> int:
        raise EngineError(text)

    began = trio.current_time()
    with pytest.raises(EngineError, match=text):
        await _once_buried(create)
    assert waited_s <= trio.current_time() - began < waited_s + 1
