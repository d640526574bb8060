"""OTP's strategies, on containers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import trio

from services.containers.container import Container
from services.containers.groups import Groups
from services.containers.groups.labels import GROUP, INTENSITY, ORDER, STRATEGY
from services.containers.model import State
from services.errors import EngineError
from tests.services.containers.support import container


def member(name: str, order: int, strategy: str, state: State = State.RUNNING) -> Container:
    """One of the group `web`."""
    labels = {GROUP: "web", ORDER: str(order), STRATEGY: strategy, INTENSITY: "2/10s"}
    return container(state, container_id=name * 64, name=name, labels=labels)


@dataclass
class Scene:
    """Four members, made in another order than they start in, and somebody else's container."""

    strategy: str = "one_for_all"
    log: list[str] = field(default_factory=list)
    fails_to_start: str = ""
    is_full: bool = False

    def __post_init__(self) -> None:
        places = {"c": 2, "a": 0, "d": 3, "b": 1}
        self.by_name = {name: member(name, at, self.strategy) for name, at in places.items()}
        self.by_name["x"] = container(State.RUNNING, container_id="e" * 64, name="x")
        self.groups = self.new_groups()

    def new_groups(self) -> Groups:
        """As another daemon has them."""
        return Groups(self.by_name.values(), journal=self, stop=self.stop, start=self.start)

    async def change_status(self, container: Container, **changes: Any) -> None:
        if self.is_full:
            raise EngineError("no space left on device")
        await self.change_in_memory(container, **changes)

    async def change_in_memory(self, container: Container, **changes: Any) -> None:
        await trio.lowlevel.checkpoint()
        container.replace(status=msgspec.structs.replace(container.status, **changes))

    def set(self, one: Container, state: State, **changes: object) -> None:
        one.replace(status=msgspec.structs.replace(one.status, state=state, **changes))

    async def stop(self, container: Container) -> None:
        one = container
        self.log.append(f"-{one.name}")
        self.set(one, State.EXITED)
        await trio.lowlevel.checkpoint()

    async def start(self, one: Container) -> None:
        if one.name == self.fails_to_start:
            raise EngineError("no")
        self.log.append(f"+{one.name}")
        self.set(one, State.RUNNING, stopped_for="")
        await trio.lowlevel.checkpoint()

    async def fail(self, name: str) -> bool:
        """A member fails and is restarted by its policy."""
        one = self.by_name[name]
        self.set(one, State.RESTARTING)
        may_restart = await self.groups.take_down(one, lambda: one.state is State.EXITED)
        if may_restart and one.state is State.RESTARTING:
            await self.start(one)
            self.groups.bring_up(one)
        return may_restart

    async def settled(self) -> None:
        """Let what was stopped start again."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.groups.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("strategy", "log"),
    [
        ("one_for_one", ["+b"]),
        ("one_for_all", ["-d", "-c", "-a", "+b", "+a", "+c", "+d"]),
        ("rest_for_one", ["-d", "-c", "+b", "+c", "+d"]),
    ],
)
async def test_who_stops_and_starts_with_whom(strategy: str, log: list[str]) -> None:
    """Stopped in falling order, started in rising order, the failed one first; others never."""
    scene = Scene(strategy)
    assert await scene.fail("b")
    await scene.settled()
    assert scene.log == log


async def test_a_group_that_fails_too_often_is_stopped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One more than the intensity lets through; when the window is over it counts anew."""
    scene = Scene("one_for_one")
    assert await scene.fail("a")
    await trio.sleep(6)
    assert await scene.fail("b")
    await trio.sleep(6)
    assert await scene.fail("c")
    scene.log.clear()
    assert not await scene.fail("d")
    assert scene.log == ["-c", "-b", "-a"]
    assert scene.by_name["x"].state is State.RUNNING


async def test_two_that_fail_at_once_are_one_restart_of_the_group() -> None:
    """The second one was stopped for the first, and is started after it."""
    scene = Scene()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.fail, "b")
        nursery.start_soon(scene.fail, "c")
    await scene.settled()
    assert sorted(entry for entry in scene.log if entry.startswith("+")) == ["+a", "+b", "+c", "+d"]
    assert all(one.state is State.RUNNING for one in scene.by_name.values())


async def test_what_a_user_did_meanwhile_stands() -> None:
    """Who was stopped by hand stays down; who did not run stays so; a start that fails is told."""
    scene = Scene()
    scene.set(scene.by_name["a"], State.EXITED)
    scene.fails_to_start = "c"
    assert await scene.fail("b")
    scene.set(scene.by_name["d"], State.EXITED, stopped_by_user=True)
    await scene.settled()
    assert scene.log == ["-d", "-c", "+b"]


@pytest.mark.parametrize("is_full", [False, True])
async def test_what_was_stopped_is_known_to_who_comes_after(is_full: bool) -> None:
    """Another task, or another daemon: those that were stopped start after the one that failed."""
    scene = Scene(is_full=is_full)
    assert await scene.fail("b")
    stopped = {name for name, one in scene.by_name.items() if one.status.stopped_for}
    assert stopped == {"a", "c", "d"}
    scene.groups = scene.new_groups()
    scene.log.clear()
    await scene.settled()
    assert scene.log == ["+a", "+c", "+d"]
    assert not any(one.status.stopped_for for one in scene.by_name.values())


async def test_what_is_half_stopped_is_stopped_in_order() -> None:
    """The daemon was killed between the note and the stops."""
    scene = Scene()
    for name in "acd":
        one = scene.by_name[name]
        scene.set(one, State.RUNNING, stopped_for=scene.by_name["b"].id)
    await scene.new_groups().stop_rest([scene.by_name[name] for name in "dca"])
    assert scene.log == ["-d", "-c", "-a"]


async def test_a_group_is_forgotten_with_its_last_member() -> None:
    """Or each name that was ever used would stay in memory."""
    scene = Scene()
    groups = scene.groups
    assert await scene.fail("b")
    for name in "abcd":
        assert set(groups._failures) == set(groups._turns) == {"web"}
        groups.forget(scene.by_name.pop(name))
    assert (groups._failures, groups._turns) == ({}, {})
