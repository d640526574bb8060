"""services.containers.stop_order: who needs others stops before them, as far as time allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pytest
import trio
import trio.testing

from services.containers.container import Container
from services.containers.model import Link, State
from services.containers.stop_order import MARGIN_S, StopOrder
from tests.services.containers.support import container


class Ship:
    """Containers named by letters, with who needs whom; each takes its time to end."""

    def __init__(self, needs: Mapping[str, str], *, takes_s: Mapping[str, float]) -> None:
        """`needs` maps a letter to those that it needs: "abC" is links to a and b, and c's net."""
        self.asked: list[tuple[str, float]] = []
        self._takes_s = takes_s
        letters = {*needs, *"".join(needs.values()).lower()}
        self.all = {letter: self._make(letter, needs.get(letter, "")) for letter in letters}
        self.order = StopOrder(list(self.all.values()))

    def _make(self, letter: str, needs: str) -> Container:
        one = container(State.RUNNING, container_id=letter * 64, name=letter)
        definition = one.definition
        links = [Link(child=n * 64, alias=n) for n in needs if n.islower()]
        modes = [f"container:{n.lower() * 64}" for n in needs if n.isupper()]
        host = msgspec.structs.replace(definition.host_config, network_mode="".join(modes))
        one.replace(definition=msgspec.structs.replace(definition, links=links, host_config=host))
        return one

    async def stop(self, letter: str, grace_s: float) -> None:
        one = self.all[letter]
        await self.order.turn(one, grace_s)
        self.asked.append((letter, trio.current_time()))
        await trio.sleep(self._takes_s.get(letter, 1.0))
        one.replace(status=msgspec.structs.replace(one.status, state=State.EXITED))
        one.tell_exited(one.last_exit)

    async def stop_all(self, *, limit_s: float = 100.0, grace_s: float = 10.0) -> None:
        """All at once, as the engine's end does."""
        self.order.begin(trio.current_time() + limit_s)
        async with trio.open_nursery() as nursery:
            for letter in self.all:
                nursery.start_soon(self.stop, letter, grace_s)


@pytest.mark.parametrize(
    ("needs", "asked"),
    [
        ({"a": "", "b": ""}, {"a": 0, "b": 0}),
        ({"a": "b"}, {"a": 0, "b": 1}),
        ({"a": "B"}, {"a": 0, "b": 1}),
        ({"a": "bc", "b": "c"}, {"a": 0, "b": 1, "c": 2}),
        ({"a": "d", "b": "d", "c": ""}, {"a": 0, "b": 0, "c": 0, "d": 1}),
    ],
)
async def test_users_go_first_and_the_rest_at_once(
    needs: Mapping[str, str], asked: Mapping[str, int], autojump_clock: trio.testing.MockClock
) -> None:
    """By links and by namespaces that are joined; nobody waits for who is none of its business."""
    ship = Ship(needs, takes_s={})
    await ship.stop_all()
    assert dict(ship.asked) == asked


async def test_each_has_its_own_grace_before_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A user that does not end costs the order, and not the time of who is needed."""
    ship = Ship({"a": "b"}, takes_s={"a": 1000.0})
    await ship.stop_all(limit_s=15.0, grace_s=10.0)
    assert dict(ship.asked) == {"a": 0, "b": 15.0 - 10.0 - MARGIN_S}


async def test_who_needs_each_other_is_not_stuck(autojump_clock: trio.testing.MockClock) -> None:
    """A circle has no order; all are asked when there is no more time."""
    ship = Ship({"a": "B", "b": "A"}, takes_s={})
    await ship.stop_all(limit_s=15.0, grace_s=10.0)
    assert dict(ship.asked) == {"a": 4.0, "b": 4.0}


@pytest.mark.parametrize("state", [State.EXITED, State.RESTARTING, State.CREATED])
async def test_nobody_waits_for_what_does_not_run(state: State) -> None:
    """Nor for what waits for its own restart, which the end calls off."""
    ship = Ship({"a": "b"}, takes_s={"b": 0.0})
    user = ship.all["a"]
    user.replace(status=msgspec.structs.replace(user.status, state=state))
    with trio.fail_after(1):
        await ship.stop("b", 10.0)
    assert names(ship.order.alive()) == []


def names(containers: Sequence[Container]) -> list[str]:
    return sorted(container.name for container in containers)


async def test_what_is_alive_is_what_has_a_process() -> None:
    """Running or paused: these are named when the time is over."""
    ship = Ship({"a": "b", "c": ""}, takes_s={})
    paused = ship.all["c"]
    paused.replace(status=msgspec.structs.replace(paused.status, state=State.PAUSED))
    assert names(ship.order.alive()) == ["a", "b", "c"]
    assert names(ship.order.needed_by(ship.all["b"])) == ["a"]
