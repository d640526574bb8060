"""Stop and kill: which signals at which times, and what they wait for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing

from services.containers.container import Container
from services.containers.model import State
from services.containers.stop import FROZEN_AFTER_S, Stopper
from services.containers.stop_order import StopOrder
from services.errors import Conflict, DeadlineExceeded, InvalidParameter, NotModified
from tests.services.containers.support import (
    FakeContainerd,
    FakeTasks,
    MemoryJournal,
    container,
    exit_of,
)

TERM, KILL, QUIT = 15, 9, 3


class NoRuns:
    """No container has parts here."""

    def get(self, container: Container) -> None:
        return None


def build(
    subject: Container,
    *,
    ignores: frozenset[int] = frozenset(),
    thaw: Callable[[Container], None] = lambda _: None,
    **tasks: Any,
) -> tuple[Stopper, FakeTasks, MemoryJournal]:
    fake = FakeTasks(ignores=ignores, on_exit=partial(exit_of, subject), **tasks)
    journal = MemoryJournal()
    stopper = Stopper(
        containerd=cast(Any, FakeContainerd(tasks=fake)),
        journal=cast(Any, journal),
        runs=cast(Any, NoRuns()),
        order=StopOrder([subject]),
        thaw=thaw,
    )
    return stopper, fake, journal


async def test_stop_asks_and_returns_when_the_container_has_exited(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """SIGTERM is enough for one that listens; the events are dockerd's."""
    subject = container(State.RUNNING)
    stopper, tasks, journal = build(subject)
    await stopper.stop(subject)
    assert tasks.signals == [(0.0, TERM)]
    assert subject.state is State.EXITED
    assert journal.actions == ["kill", "stop"]


async def test_stop_kills_once_the_grace_is_over(autojump_clock: trio.testing.MockClock) -> None:
    """A container that ignores SIGTERM gets SIGKILL when its grace ends, and not before."""
    subject = container(State.RUNNING)
    stopper, tasks, _ = build(subject, ignores=frozenset({TERM}))
    await stopper.stop(subject)
    assert tasks.signals == [(0.0, TERM), (10.0, KILL)]


async def test_the_grace_is_the_requests_the_containers_or_dockers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In this order."""
    for grace_s, configured, expected in ((2.0, 7, 2.0), (None, 7, 7.0), (None, None, 10.0)):
        extra = {} if configured is None else {"stop_timeout": configured}
        subject = container(State.RUNNING, **extra)
        stopper, tasks, _ = build(subject, ignores=frozenset({TERM}))
        began = trio.current_time()
        await stopper.stop(subject, grace_s=grace_s)
        assert tasks.signals[1] == (began + expected, KILL)


async def test_the_stop_signal_is_the_containers_or_the_requests(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A request's signal wins."""
    subject = container(State.RUNNING, stop_signal="SIGQUIT")
    stopper, tasks, _ = build(subject)
    await stopper.stop(subject)
    assert tasks.signals == [(0.0, QUIT)]
    subject = container(State.RUNNING, stop_signal="SIGQUIT")
    stopper, tasks, _ = build(subject)
    await stopper.stop(subject, signal="INT")
    assert tasks.signals == [(0.0, 2)]


@pytest.mark.parametrize("state", [State.CREATED, State.EXITED, State.DEAD])
async def test_stopping_what_does_not_run_is_not_modified(state: State) -> None:
    """304, and no signal."""
    subject = container(state)
    stopper, tasks, _ = build(subject)
    with pytest.raises(NotModified):
        await stopper.stop(subject)
    assert tasks.signals == []


async def test_a_bad_signal_changes_nothing() -> None:
    """It is refused before anything is written or sent."""
    subject = container(State.RUNNING)
    stopper, tasks, journal = build(subject)
    with pytest.raises(InvalidParameter, match="nonsense"):
        await stopper.stop(subject, signal="nonsense")
    assert (tasks.signals, journal.events, subject.status.stopped_by_user) == ([], [], False)


async def test_the_users_wish_is_remembered_the_daemons_end_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After a stop no policy restarts it; after the daemon's end the next daemon does."""
    by_user = container(State.RUNNING, restart="always")
    stopper, _, _ = build(by_user)
    await stopper.stop(by_user)
    assert by_user.status.stopped_by_user
    with_daemon = container(State.RUNNING, restart="always")
    stopper, _, _ = build(with_daemon)

    class Run:
        container = with_daemon
        stop_wanted = trio.Event()

    await stopper.stop_for_shutdown(cast(Any, Run))
    assert not with_daemon.status.stopped_by_user
    assert Run.stop_wanted.is_set()


async def test_a_paused_container_is_resumed_to_hear_the_signal(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A frozen process hears nothing."""
    subject = container(State.PAUSED)
    stopper, tasks, _ = build(subject)
    await stopper.stop(subject)
    assert tasks.resumed == 1


async def test_kill_waits_for_the_exit_a_signal_does_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`docker kill` returns when the container is gone; `docker kill -s HUP` at once."""
    subject = container(State.RUNNING)
    stopper, tasks, _ = build(subject, ignores=frozenset({1}))
    await stopper.kill(subject, "HUP")
    assert (subject.state.value, subject.status.stopped_by_user) == ("running", False)
    await stopper.kill(subject)
    assert subject.state.value == "exited"
    assert [number for _, number in tasks.signals] == [1, KILL]


async def test_killing_what_does_not_run_is_a_conflict() -> None:
    """With dockerd's words."""
    subject = container(State.EXITED)
    stopper, _, _ = build(subject)
    with pytest.raises(Conflict, match=f"container {subject.id} is not running"):
        await stopper.kill(subject)


async def test_a_stuck_shim_costs_a_bounded_wait_and_a_clear_error(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed past its shim, and the caller is told what is wrong."""
    killed: list[int] = []
    monkeypatch.setattr("services.containers.stop._kill_process", lambda _, pid: killed.append(pid))
    subject = container(State.RUNNING)
    stopper, _, _ = build(subject, is_stuck=True)
    with pytest.raises(DeadlineExceeded, match="web was killed, but no exit was reported"):
        await stopper.stop(subject, grace_s=1)
    assert killed == [4711]
    assert trio.current_time() < 30
    assert subject.state is State.RUNNING  # what was observed, not what was asked


async def test_a_task_that_is_gone_already_is_no_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It exited between our look and our signal; the exit is still waited for."""
    subject = container(State.RUNNING)
    stopper, tasks, _ = build(subject, is_gone=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stopper.stop, subject)
        await trio.sleep(3)
        exit_of(subject, 0)
    assert tasks.signals == [(0.0, TERM)]


async def test_what_is_frozen_after_its_kill_is_thawed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A pause that was under way when the signal left: frozen, it would never die."""
    subject = container(State.RUNNING)
    stopper, tasks, _ = build(
        subject, ignores=frozenset({KILL}), thaw=lambda thawed: exit_of(thawed, 128 + KILL)
    )

    async def freeze() -> None:
        await trio.sleep(0.1)
        subject.replace(status=msgspec.structs.replace(subject.status, state=State.PAUSED))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(freeze)
        await stopper.kill(subject)
    assert tasks.signals == [(0.0, KILL)]
    assert trio.current_time() == FROZEN_AFTER_S
    assert subject.state is State.EXITED


async def test_a_stuck_shim_of_what_is_frozen(autojump_clock: trio.testing.MockClock) -> None:
    """The shim cannot thaw it: the kernel is asked, and the SIGKILL that waits takes effect."""
    subject = container(State.PAUSED)
    stopper, _, _ = build(
        subject, ignores=frozenset({KILL}), thaw=lambda thawed: exit_of(thawed, 128 + KILL)
    )
    await stopper.kill(subject)
    assert subject.state is State.EXITED
