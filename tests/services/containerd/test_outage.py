"""kill -9 of containerd under load: nothing hangs, and what ran still runs."""

# A stream breaks at whichever step of its block it is.

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import pytest
import trio
import trio.testing

from services.containerd import connection as connection_module
from services.containerd.events import Events
from services.containerd.facade import Containerd
from services.containerd.kept_exits import KeptExits
from services.containerd.process import Process
from services.containerd.process_config import ProcessConfig
from services.containerd.values import TaskExit, TaskStatus
from services.errors import DeadlineExceeded, NotFound, Unavailable
from tests.engine_fixtures import KEPT, NAMESPACE, create_busybox, private_config
from tests.support.standstill import stop_process

pytestmark = pytest.mark.engine


@pytest.fixture
def config() -> Iterator[ProcessConfig]:
    """Folders for one containerd, with nothing in them yet."""
    with private_config() as config:
        yield config


class Keeper:
    """Starts containerd again whenever it ends, as its supervisor does."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._pid = 0
        self._has_begun = trio.Event()

    async def pid(self) -> int:
        """That of the present containerd, once it has begun: calls may reach it before."""
        await self._has_begun.wait()
        return self._pid

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        while True:
            with suppress(BaseExceptionGroup, Unavailable):
                async with trio.open_nursery() as nursery:
                    self._pid = await nursery.start(self._process.run)
                    self._has_begun.set()
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
            self._has_begun = trio.Event()
            await trio.lowlevel.checkpoint()


async def with_keeper(
    config: ProcessConfig, body: Callable[[Containerd, Keeper], Awaitable[None]]
) -> None:
    """Run `body` with a supervised containerd and a connection, within a minute and a half."""
    process = Process(config)
    keeper, containerd = Keeper(process), Containerd(process.address, NAMESPACE)
    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            await nursery.start(keeper.run)
            await nursery.start(containerd.connection.run)
            await containerd.connection.wait_ready()
            await containerd.namespaces.ensure()
            await body(containerd, keeper)
            nursery.cancel_scope.cancel()


async def test_everything_in_flight_ends_with_unavailable(config: ProcessConfig) -> None:
    """Unary calls, an event stream, a read and a writer, all waiting: each ends, none hangs."""
    ended: list[str] = []

    async def body(containerd: Containerd, keeper: Keeper) -> None:
        stands_still = trio.Event()
        async with containerd.content.writer("big") as writer:
            await writer.write(b"x" * 30_000_000)
            digest = await writer.commit(KEPT)

        async def unary() -> None:
            with pytest.raises(Unavailable):
                await containerd.version.get()
            ended.append("unary")

        async def listening(listens: trio.Event) -> None:
            with pytest.raises(Unavailable):
                async with containerd.events.subscribe() as stream:
                    listens.set()
                    await stream.__anext__()
            ended.append("events")

        async def reading(reads: trio.Event) -> None:
            with pytest.raises(Unavailable):
                async for _piece in containerd.content.read(digest):
                    reads.set()
                    await stands_still.wait()  # it is more than what may be under way
            ended.append("read")

        async def writing(writes: trio.Event) -> None:
            with pytest.raises(Unavailable):
                async with containerd.content.writer("other") as writer:
                    while True:
                        await writer.write(b"y" * 1_000_000)
                        writes.set()
            ended.append("write")

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for start in (listening, reading, writing):
                    ready = trio.Event()
                    nursery.start_soon(start, ready)
                    await ready.wait()
                pid = await keeper.pid()
                stop_process(pid)
                stands_still.set()
                for _ in range(50):
                    nursery.start_soon(unary)
                await trio.testing.wait_all_tasks_blocked(0.05)
                os.kill(pid, signal.SIGKILL)
        await containerd.connection.wait_ready()
        await containerd.version.get()

    await with_keeper(config, body)
    assert sorted(ended) == ["events", "read", *["unary"] * 50, "write"]


async def test_a_task_outlives_containerd(config: ProcessConfig) -> None:
    """An open wait ends with Unavailable; after the restart the task runs and can be waited for."""

    async def body(containerd: Containerd, keeper: Keeper) -> None:
        options = await create_busybox(containerd, config, "t1", ["sleep", "1000"])
        mounts = await containerd.snapshots.mounts("t1")
        await containerd.tasks.create("t1", rootfs=mounts, options=options)
        pid = await containerd.tasks.start("t1")
        for _ in range(3):
            async with trio.open_nursery() as nursery:

                async def waiting() -> None:
                    with pytest.raises(Unavailable, match=r"tasks\.wait t1"):
                        await containerd.tasks.wait("t1")

                nursery.start_soon(waiting)
                await trio.testing.wait_all_tasks_blocked(0.05)
                os.kill(await keeper.pid(), signal.SIGKILL)
            info = await containerd.tasks.get("t1")  # waits at the gate for the next containerd
            assert (info.pid, info.status) == (pid, TaskStatus.RUNNING)
        exits: list[TaskExit] = []
        async with trio.open_nursery() as nursery:

            async def waiting_again() -> None:
                exits.append(await containerd.tasks.wait("t1"))

            nursery.start_soon(waiting_again)
            await trio.testing.wait_all_tasks_blocked(0.05)
            await containerd.tasks.kill("t1", signal.SIGKILL)
        assert exits[0].code == 137
        assert await containerd.tasks.delete("t1") == exits[0]

    await with_keeper(config, body)


async def test_an_exit_while_containerd_is_away_is_told_after(config: ProcessConfig) -> None:
    """The shim keeps the exit; a wait on the next containerd gives its true code and time."""
    kept_exits = KeptExits()
    process = Process(config, kept_exits=kept_exits)
    containerd = Containerd(process.address, NAMESPACE, kept_exits=kept_exits)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as first:
                await first.start(process.run)
                await nursery.start(containerd.connection.run)
                await containerd.namespaces.ensure()
                options = await create_busybox(
                    containerd, config, "t2", ["sh", "-c", "sleep 1; exit 9"]
                )
                mounts = await containerd.snapshots.mounts("t2")
                pid = await containerd.tasks.create("t2", rootfs=mounts, options=options)
                began_at_ns = time.time_ns()
                await containerd.tasks.start("t2")
                first.cancel_scope.cancel()
            pidfd = os.pidfd_open(pid)
            await trio.lowlevel.wait_readable(pidfd)
            os.close(pidfd)
            await trio.sleep(1.5)  # the shim sees it in its own time
            restarted_at_ns = time.time_ns()
            await nursery.start(process.run)
            await containerd.connection.wait_ready()
            exit_ = await containerd.tasks.wait("t2")
            assert exit_.code == 9
            assert began_at_ns < exit_.exited_at_ns < restarted_at_ns
            info = await containerd.tasks.get("t2")
            assert (info.status, info.exit_code) == (TaskStatus.STOPPED, 9)
            assert await containerd.tasks.delete("t2") == exit_
            with pytest.raises(NotFound):
                await containerd.tasks.wait("t2")
            nursery.cancel_scope.cancel()


async def test_a_stopped_containerd_costs_one_limit(
    config: ProcessConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """containerd under SIGSTOP: a call ends by its limit, and the next ones work."""

    async def body(containerd: Containerd, keeper: Keeper) -> None:
        quick = connection_module.VERSION
        monkeypatch.setattr(
            "services.containerd.version.VERSION",
            type(quick)(
                service=quick.service,
                name=quick.name,
                request=quick.request,
                reply=quick.reply,
                limit_s=0.2,
            ),
        )
        pid = await keeper.pid()
        stop_process(pid)
        try:
            with pytest.raises(DeadlineExceeded, match=r"version\.version: no answer"):
                await containerd.version.get()
        finally:
            os.kill(pid, signal.SIGCONT)
        await containerd.introspection.uuid()

    await with_keeper(config, body)


async def test_the_connections_task_may_be_restarted(config: ProcessConfig) -> None:
    """Cancelling `run` ends calls with Unavailable, and a second `run` serves the same object."""
    process = Process(config)
    containerd = Containerd(process.address, NAMESPACE)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(process.run)
            for _ in range(2):
                async with trio.open_nursery() as inner:
                    await inner.start(containerd.connection.run)
                    await containerd.connection.wait_ready()
                    await containerd.namespaces.ensure()
                    listens = trio.Event()
                    nursery.start_soon(_expect_unavailable, containerd.events, listens)
                    await listens.wait()
                    inner.cancel_scope.cancel()
                assert not containerd.connection.is_ready
            nursery.cancel_scope.cancel()


async def _expect_unavailable(events: Events, listens: trio.Event) -> None:
    with pytest.raises(Unavailable):
        async with events.subscribe() as stream:
            listens.set()
            await stream.__anext__()
