"""The live handle: whose turn it is, and who waits for what."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

from services.containers.config import HealthConfig
from services.containers.container import RESTORATION, TURN_LIMIT_S, Container
from services.containers.health.rules import Health, HealthStatus
from services.containers.model import ExitStatus, State, Status
from services.errors import DeadlineExceeded, InvalidParameter
from tests.services.containers.support import container, definition, exit_of

TaskStatus = trio.TaskStatus[None]


async def hold(subject: Container, operation: str, *, task_status: TaskStatus) -> None:
    async with subject.turn(operation):
        task_status.started()
        await trio.sleep(100)


async def test_operations_take_turns_in_the_order_of_their_coming(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody overtakes, whoever is slow."""
    subject = container()
    order: list[str] = []

    async def operate(name: str) -> None:
        async with subject.turn(name):
            order.append(name)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for name in ("a", "b", "c"):
            nursery.start_soon(operate, name)
            await trio.testing.wait_all_tasks_blocked()
    assert order == ["a", "b", "c"]
    assert trio.current_time() == 3


async def test_a_turn_that_does_not_come_is_refused_by_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The error says which operation holds the container, and for how long."""
    subject = container()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(hold, subject, "its start"))
        with pytest.raises(DeadlineExceeded, match=r"web is busy: its start has been .* for 40 s"):
            async with subject.turn("its stop"):
                pytest.fail("two turns at once")
        assert trio.current_time() == TURN_LIMIT_S
        nursery.cancel_scope.cancel()


async def test_who_settles_waits_for_a_start_under_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A start that has not been recorded yet is waited for; what runs is not."""
    subject = container()
    async with trio.open_nursery() as nursery, subject.turn("its start"):
        nursery.start_soon(subject.settle)
        await trio.sleep(3)
        assert len(nursery.child_tasks) == 1
        subject.replace(status=Status(state=State.RUNNING))
        await subject.settle()
    assert trio.current_time() == 3


@pytest.mark.parametrize("state", [State.CREATED, State.EXITED, State.DEAD])
async def test_not_running_is_answered_at_once(state: State) -> None:
    """With the code of the last run; 0 if there was none."""
    waiter = container(state).waiter("not-running")
    assert (await waiter.wait()).code == 0


@pytest.mark.parametrize("condition", ["", "not-running", "next-exit"])
async def test_a_waiter_hears_the_exit_after_its_registration(condition: str) -> None:
    """Registered is enough: the wait may begin after the exit."""
    subject = container(State.RUNNING)
    waiter = subject.waiter(condition)
    exit_of(subject, 3)
    assert (await waiter.wait()).code == 3


async def test_next_exit_does_not_count_the_last_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A stopped container's next exit is yet to come."""
    subject = container(State.EXITED)
    waiter = subject.waiter("next-exit")
    with trio.move_on_after(10) as scope:
        await waiter.wait()
    assert scope.cancelled_caught


async def test_removal_wakes_everybody_and_tells_no_error() -> None:
    """Who waits for an exit of a container that is gone would wait for ever."""
    subject = container(State.EXITED)
    waiters = [subject.waiter("removed"), subject.waiter("next-exit")]
    subject.tell_exited(ExitStatus(code=1, exited_at_ns=1))
    late = subject.waiter("next-exit")
    subject.tell_removed()
    for waiter in (waiters[0], late):
        status = await waiter.wait()
        assert status.error == ""


def test_an_unknown_condition_is_refused() -> None:
    """With the condition in the text."""
    with pytest.raises(InvalidParameter, match='invalid condition: "asleep"'):
        container().waiter("asleep")


def test_a_forgotten_waiter_is_not_kept() -> None:
    """A client that left must not grow the list."""
    subject = container(State.RUNNING)
    subject.forget_waiter(subject.waiter("next-exit"))
    assert not subject._next_exit


async def test_every_change_wakes_who_waits_for_one() -> None:
    """Of the status as well as of the health; the change is there when the waiter wakes."""
    subject = container(State.RUNNING)
    seen: list[object] = []

    async def follow() -> None:
        while len(seen) < 2:
            await subject.wait_changed()
            seen.append(subject.health or subject.state)

    health = Health(status=HealthStatus.HEALTHY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        subject.replace(status=Status(state=State.PAUSED))
        await trio.testing.wait_all_tasks_blocked()
        subject.set_health(health)
    assert seen == [State.PAUSED, health]


def test_health_of_what_an_earlier_engine_ran() -> None:
    """Unknown: a running one begins anew, an ended one is unhealthy, a new one has none."""
    checked = definition(healthcheck=HealthConfig(test=["CMD", "true"]))
    for status, expected in (
        (Status(state=State.RUNNING, runs=1), HealthStatus.STARTING),
        (Status(state=State.EXITED, runs=1), HealthStatus.UNHEALTHY),
    ):
        health = Container(checked, status).health
        assert health is not None
        assert health.status is expected
    assert Container(checked, Status()).health is None
    assert Container(definition(), Status(state=State.EXITED, runs=1)).health is None


async def test_everybody_waits_for_the_restoration(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Turns come after it; so does whoever wants none. It itself waits for nobody."""
    subject = container(State.RUNNING)
    order: list[str] = []

    async def operate(name: str) -> None:
        async with subject.turn(name):
            order.append(name)

    async def look() -> None:
        await subject.wait_restored()
        order.append("look")

    async def settle() -> None:
        await subject.settle()
        order.append("settled")

    subject.expect_restoration()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(operate, "stop")
        for wait in (look, settle):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        async with subject.turn(RESTORATION, restores=True):
            await trio.sleep(1)
            assert order == []
        await trio.testing.wait_all_tasks_blocked()
        assert order == []  # its end is said, not guessed
        subject.end_restoration()
    assert sorted(order) == ["look", "settled", "stop"]
    async with subject.turn("its start"):
        await subject.wait_restored()  # at any other time nobody is waited for


async def test_a_restoration_that_does_not_end_is_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As any operation that has the turn too long."""
    subject = container(State.RUNNING)
    subject.expect_restoration()
    with pytest.raises(
        DeadlineExceeded, match=r"web is busy: its restoration has been .* for 40 s"
    ):
        await subject.settle()
