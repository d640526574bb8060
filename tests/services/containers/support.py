"""Stand-ins with state for what containers need of containerd and the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from services.containerd import TaskExit
from services.containers.config import ContainerConfig, HostConfig, RestartPolicy
from services.containers.container import Container
from services.containers.model import ContainerId, Definition, State, Status
from services.errors import NotFound, Unavailable
from services.events import Event

ID = ContainerId("c" * 64)


def definition(
    *,
    container_id: str = ID,
    name: str = "web",
    restart: str = "",
    auto_remove: bool = False,
    **config: Any,
) -> Definition:
    """A definition with what a test cares about."""
    return Definition(
        id=ContainerId(container_id),
        name=name,
        created_at_ns=1,
        config=ContainerConfig(image="busybox", **config),
        host_config=HostConfig(restart_policy=RestartPolicy(name=restart), auto_remove=auto_remove),
        path="sh",
        args=[],
        image_id="sha256:1",
        runtime="runc",
    )


def container(state: State = State.CREATED, **wanted: Any) -> Container:
    """A container in memory, in the state wanted."""
    status = Status(
        state=state,
        pid=4711 if state.has_task else 0,
        started_at_ns=1,
        runs=int(state is not State.CREATED),
    )
    return Container(definition(**wanted), status)


@dataclass
class MemoryJournal:
    """Keeps what would be on disk, and the events in order."""

    events: list[Event] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    async def change_status(self, container: Container, *events: Event, **changes: Any) -> None:
        await trio.lowlevel.checkpoint()
        container.replace(status=msgspec.structs.replace(container.status, **changes))
        self.events += events

    async def tell(self, *events: Event) -> None:
        await trio.lowlevel.checkpoint()
        self.events += events

    async def delete(self, container_id: ContainerId, *events: Event) -> None:
        self.deleted.append(container_id)
        self.events += events

    @property
    def actions(self) -> list[str]:
        """What was told, in order."""
        return [event.action for event in self.events]


@dataclass
class FakeTasks:
    """containerd's tasks, for one container: signals end it unless they are ignored."""

    ignores: frozenset[int] = frozenset()
    on_exit: Callable[[int], None] = lambda _: None
    signals: list[tuple[float, int]] = field(default_factory=list)
    resumed: int = 0
    is_gone: bool = False
    is_stuck: bool = False
    unavailable: int = 0
    exits: list[TaskExit] = field(default_factory=list)

    async def kill(self, container_id: str, signal: int) -> None:
        self.signals.append((trio.current_time(), signal))
        if self.is_gone:
            raise NotFound(f"no running task found: {container_id}")
        if signal not in self.ignores and not self.is_stuck:
            self.on_exit(128 + signal)

    async def resume(self, container_id: str) -> None:
        self.resumed += 1

    async def wait(self, container_id: str) -> TaskExit:
        if self.unavailable:
            self.unavailable -= 1
            raise Unavailable("containerd is away")
        if not self.exits:
            raise NotFound("no running task found")
        await trio.sleep(1)
        return self.exits.pop(0)

    async def get(self, container_id: str) -> object:
        raise NotFound("no running task found")


@dataclass
class FakeConnection:
    """Ready at once; counts who waited for it."""

    waits: int = 0

    async def wait_ready(self) -> None:
        self.waits += 1
        await trio.lowlevel.checkpoint()


@dataclass
class FakeContainerd:
    """What the parts under test call of containerd."""

    tasks: FakeTasks = field(default_factory=FakeTasks)
    connection: FakeConnection = field(default_factory=FakeConnection)


def exit_of(container: Container, code: int) -> None:
    """What the life of a container does when its task has exited."""
    status = msgspec.structs.replace(
        container.status, state=State.EXITED, exit_code=code, pid=0, finished_at_ns=2
    )
    container.replace(status=status)
    container.tell_exited(container.last_exit)
