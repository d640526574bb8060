"""Real processes: a busybox task from a snapshot, its execs, exits, events and metrics."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from services.containerd.events import (
    EventEnvelope,
    TaskCreateEvent,
    TaskDeleteEvent,
    TaskExecAddedEvent,
    TaskExecStartedEvent,
    TaskExitEvent,
    TaskPausedEvent,
    TaskResumedEvent,
    TaskStartEvent,
)
from services.containerd.facade import Containerd
from services.containerd.process_config import ProcessConfig
from services.containerd.values import TaskStatus
from services.errors import EngineError, NotFound
from tests.engine_fixtures import KEPT, NAMESPACE, busybox_process, connected, create_busybox

pytestmark = pytest.mark.engine


@contextlib.asynccontextmanager
async def created_task(
    containerd: Containerd, config: ProcessConfig, *args: str, stdout: str = ""
) -> AsyncIterator[str]:
    """A task that was made and not started; whatever is left of it goes at the end."""
    id = f"t-{uuid.uuid4().hex[:12]}"
    options = await create_busybox(containerd, config, id, args)
    mounts = await containerd.snapshots.mounts(id)
    pid = await containerd.tasks.create(
        id, rootfs=mounts, stdout=stdout, stderr=stdout, options=options
    )
    assert pid > 0
    try:
        yield id
    finally:
        with contextlib.suppress(EngineError):
            await containerd.tasks.kill(id, signal.SIGKILL, all=True)
        with contextlib.suppress(EngineError):
            await containerd.tasks.wait(id)
        with contextlib.suppress(EngineError):
            await containerd.tasks.delete(id)
        await containerd.containers.delete(id)
        await containerd.snapshots.remove(id)


async def test_a_task_writes_exits_and_is_deleted(
    containerd_config: ProcessConfig, tmp_path: Path
) -> None:
    """The shim opens the FIFO, the output comes through, wait and delete give the same exit."""
    fifo = tmp_path / "out"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    async with (
        connected(containerd_config) as containerd,
        created_task(
            containerd, containerd_config, "sh", "-c", "echo hi; exit 7", stdout=str(fifo)
        ) as id,
    ):
        info = await containerd.tasks.get(id)
        assert (info.id, info.status, info.stdout) == (id, TaskStatus.CREATED, str(fifo))
        assert info.exited_at_ns == 0
        assert await containerd.tasks.start(id) == info.pid
        exit_ = await containerd.tasks.wait(id)
        assert exit_.code == 7
        assert exit_.exited_at_ns > 1_600_000_000_000_000_000
        with trio.fail_after(30):  # the shim copies it, and tells the exit meanwhile
            await trio.lowlevel.wait_readable(reader)
        assert os.read(reader, 100) == b"hi\n"
        assert (await containerd.tasks.get(id)).status is TaskStatus.STOPPED
        assert await containerd.tasks.wait(id) == exit_
        assert await containerd.tasks.delete(id) == exit_
        with pytest.raises(NotFound, match=id):
            await containerd.tasks.get(id)
    os.close(reader)


async def test_a_running_task_can_be_controlled(containerd_config: ProcessConfig) -> None:
    """Pause, resume, exec, pids, metrics, limits, list and kill reach the task that they name."""
    async with (
        connected(containerd_config) as containerd,
        created_task(containerd, containerd_config, "sleep", "1000") as id,
    ):
        tasks = containerd.tasks
        pid = await tasks.start(id)
        await tasks.pause(id)
        assert (await tasks.get(id)).status is TaskStatus.PAUSED
        await tasks.resume(id)
        assert (await tasks.get(id)).status is TaskStatus.RUNNING
        process = json.dumps(busybox_process(["sh", "-c", "exit 3"])).encode()
        await tasks.exec(id, "e1", process=process)
        assert await tasks.start(id, "e1") > 0
        assert (await tasks.wait(id, "e1")).code == 3
        assert (await tasks.delete_process(id, "e1")).code == 3
        assert pid in [process.pid for process in await tasks.pids(id)]
        metrics = await tasks.metrics(id)
        assert metrics.data
        assert "Metrics" in metrics.type_url
        await tasks.update(id, json.dumps({"pids": {"limit": 100}}).encode())
        await tasks.close_io(id)
        assert {(task.id, task.pid) for task in await tasks.list()} >= {(id, pid)}
        await tasks.kill(id, signal.SIGKILL)
        assert (await tasks.wait(id)).code == 137
        with pytest.raises(NotFound):
            await tasks.kill(id, signal.SIGTERM)


async def test_events_tell_a_tasks_whole_life(containerd_config: ProcessConfig) -> None:
    """From create to delete each step is one typed event, in order, with nothing missed."""
    seen: list[EventEnvelope] = []
    async with (
        connected(containerd_config) as containerd,
        containerd.events.subscribe(f'namespace=="{NAMESPACE}",topic~="^/tasks/"') as stream,
    ):
        async with created_task(containerd, containerd_config, "sleep", "1000") as id:
            pid = await containerd.tasks.start(id)
            await containerd.tasks.pause(id)
            await containerd.tasks.resume(id)
            process = json.dumps(busybox_process(["true"])).encode()
            await containerd.tasks.exec(id, "e1", process=process)
            exec_pid = await containerd.tasks.start(id, "e1")
            await containerd.tasks.wait(id, "e1")
            await containerd.tasks.delete_process(id, "e1")
            await containerd.tasks.kill(id, signal.SIGKILL)
            exit_ = await containerd.tasks.wait(id)
        async for envelope in stream:
            seen.append(envelope)
            if isinstance(envelope.event, TaskDeleteEvent) and not envelope.event.exec_id:
                break
    events = [envelope.event for envelope in seen]
    assert {envelope.namespace for envelope in seen} == {NAMESPACE}
    assert seen[0].topic == "/tasks/create"
    assert seen[0].timestamp_ns > 1_600_000_000_000_000_000
    assert isinstance(events[0], TaskCreateEvent)
    assert events[1] == TaskStartEvent(container_id=id, pid=pid)
    assert TaskPausedEvent(container_id=id) in events
    assert TaskResumedEvent(container_id=id) in events
    assert TaskExecAddedEvent(container_id=id, exec_id="e1") in events
    assert TaskExecStartedEvent(container_id=id, exec_id="e1", pid=exec_pid) in events
    exits = [event for event in events if isinstance(event, TaskExitEvent)]
    assert [(event.exec_id, event.exit_code) for event in exits] == [("e1", 0), ("", 137)]
    assert exits[1].pid == pid
    assert exits[1].exited_at_ns == exit_.exited_at_ns


async def test_subscribing_has_no_gap(containerd_config: ProcessConfig) -> None:
    """What happens right after the block was entered is seen, every time."""
    async with connected(containerd_config) as containerd:
        for _ in range(20):
            name = uuid.uuid4().hex[:12]
            async with containerd.events.subscribe() as stream:
                await containerd.snapshots.prepare(name, labels=KEPT)
                envelope = await stream.__anext__()
                while envelope.topic != "/snapshot/prepare":
                    envelope = await stream.__anext__()
            await containerd.snapshots.remove(name)


async def test_resize_needs_a_terminal_that_is_there(containerd_config: ProcessConfig) -> None:
    """A call on a process that is not there says so, and names task and exec."""
    async with connected(containerd_config) as containerd:
        with pytest.raises(NotFound, match="nope exec e9"):
            await containerd.tasks.resize_pty("nope", "e9", width=80, height=25)
