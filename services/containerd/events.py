"""containerd's event stream."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import trio
from grpclib.const import Cardinality

from protos.generated.containerd import events as pb
from protos.generated.containerd.services.events.v1 import (
    Envelope,
    PublishRequest,
    SubscribeRequest,
)
from protos.generated.wire import Any, Empty
from services.errors import DeadlineExceeded, EngineError
from services.grpc.stream import Stream

from ._method import NO_LIMIT_S, RPC_LIMIT_S, Method
from ._wire import to_ns
from .connection import Connection

# Published by a subscriber to learn from its arrival that containerd has begun to listen for it.
MARKER_TOPIC: Final = "/wharfinger/subscribed"
MARKER_FIRST_S: Final = 0.005
MARKER_MAX_S: Final = 0.1

_SERVICE: Final = "containerd.services.events.v1.Events"
PUBLISH: Final = Method(service=_SERVICE, name="Publish", request=PublishRequest, reply=Empty)
SUBSCRIBE: Final = Method(
    service=_SERVICE,
    name="Subscribe",
    request=SubscribeRequest,
    reply=Envelope,
    cardinality=Cardinality.UNARY_STREAM,
    limit_s=NO_LIMIT_S,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCreateEvent:
    """The task exists and has not run. Topic /tasks/create."""

    container_id: str
    bundle: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStartEvent:
    """The task runs. Topic /tasks/start."""

    container_id: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExitEvent:
    """A process ended: the task's own when `exec_id` is the container's id. Topic /tasks/exit."""

    container_id: str
    exec_id: str  # empty for the task's own process
    pid: int
    exit_code: int
    exited_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDeleteEvent:
    """The task was deleted, or with an `exec_id` that process. Topic /tasks/delete."""

    container_id: str
    exec_id: str  # empty for the task's own process
    pid: int
    exit_code: int
    exited_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOOMEvent:
    """The kernel killed a process for want of memory. Topic /tasks/oom."""

    container_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExecAddedEvent:
    """A process was added and has not run. Topic /tasks/exec-added."""

    container_id: str
    exec_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExecStartedEvent:
    """An added process runs. Topic /tasks/exec-started."""

    container_id: str
    exec_id: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPausedEvent:
    """The container was frozen. Topic /tasks/paused."""

    container_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResumedEvent:
    """The container goes on. Topic /tasks/resumed."""

    container_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherEvent:
    """An event of a type that the engine has no use for; its topic still says what happened."""

    type_url: str


ContainerdEvent = (
    TaskCreateEvent
    | TaskStartEvent
    | TaskExitEvent
    | TaskDeleteEvent
    | TaskOOMEvent
    | TaskExecAddedEvent
    | TaskExecStartedEvent
    | TaskPausedEvent
    | TaskResumedEvent
    | OtherEvent
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEnvelope:
    """An event and what containerd says about every one."""

    timestamp_ns: int
    namespace: str
    topic: str
    event: ContainerdEvent


class EventStream:
    """Events as they come, in containerd's order. Ends only by an error: Unavailable."""

    def __init__(self, stream: Stream[SubscribeRequest, Envelope]) -> None:
        self._stream = stream
        self._early: deque[Envelope] = deque()  # came while the subscription was being made

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> EventEnvelope:
        while True:
            message = self._early.popleft() if self._early else await self._stream.__anext__()
            if not message.topic.startswith(MARKER_TOPIC):
                return _to_envelope(message)

    async def read_until(self, topic: str) -> None:
        """Block until an event of that topic came; those before it are kept for the reader."""
        async for message in self._stream:
            if message.topic == topic:
                return
            self._early.append(message)


class Events:
    """containerd publishes to who listens at that moment: after every gap, list and compare."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def subscribe(self, *filters: str) -> AsyncIterator[EventStream]:
        """Events of all namespaces that match any of `filters` (all without one).

        A filter is one of containerd's: `namespace==moby,topic~="^/tasks/"`, values in quotes.
        Within the block nothing is missed: what happens after it is entered will be read. What is
        not read waits in HTTP/2's window, and then in containerd.
        """
        marker = f"{MARKER_TOPIC}/{uuid.uuid4().hex}"
        request = SubscribeRequest(filters=[*filters, f'topic=="{marker}"'] if filters else [])
        async with self._connection.stream(SUBSCRIBE) as stream:
            await stream.send(request, end=True)
            events = EventStream(stream)
            await self._wait_listening(events, marker)
            yield events

    async def _wait_listening(self, events: EventStream, marker: str) -> None:
        """containerd does not answer a subscription, so publish until something comes back."""
        failure: EngineError | None = DeadlineExceeded(
            f"{SUBSCRIBE.about('')}: no event from containerd in {RPC_LIMIT_S:g} s"
        )
        with trio.move_on_after(RPC_LIMIT_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._publish_until_cancelled, marker)
                try:
                    await events.read_until(marker)
                    failure = None
                except EngineError as error:
                    failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _publish_until_cancelled(self, topic: str) -> None:
        request = PublishRequest(topic=topic, event=Any(type_url="google.protobuf.Empty"))
        delay_s = MARKER_FIRST_S
        while True:
            with suppress(EngineError):  # the reader, on the same connection, has the better one
                await self._connection.unary(PUBLISH, request, topic)
            await trio.sleep(delay_s)
            delay_s = min(delay_s * 2.0, MARKER_MAX_S)


def _to_envelope(message: Envelope) -> EventEnvelope:
    return EventEnvelope(
        timestamp_ns=to_ns(message.timestamp),
        namespace=message.namespace,
        topic=message.topic,
        event=_to_event(message),
    )


def _to_event(message: Envelope) -> ContainerdEvent:
    if message.event is None:
        return OtherEvent(type_url="")
    parse = _PARSERS.get(message.event.type_url.rpartition("/")[2])
    return parse(message.event.value) if parse else OtherEvent(type_url=message.event.type_url)


def _exit(data: bytes) -> TaskExitEvent:
    event = pb.TaskExit.parse(data)
    return TaskExitEvent(
        container_id=event.container_id,
        exec_id=_exec_id(event.container_id, event.id),
        pid=event.pid,
        exit_code=event.exit_status,
        exited_at_ns=to_ns(event.exited_at),
    )


def _delete(data: bytes) -> TaskDeleteEvent:
    event = pb.TaskDelete.parse(data)
    return TaskDeleteEvent(
        container_id=event.container_id,
        exec_id=_exec_id(event.container_id, event.id),
        pid=event.pid,
        exit_code=event.exit_status,
        exited_at_ns=to_ns(event.exited_at),
    )


def _exec_id(container_id: str, id: str) -> str:
    """containerd names the task's own process by the container's id, or not at all."""
    return "" if id == container_id else id


def _create(data: bytes) -> TaskCreateEvent:
    event = pb.TaskCreate.parse(data)
    return TaskCreateEvent(container_id=event.container_id, bundle=event.bundle, pid=event.pid)


def _start(data: bytes) -> TaskStartEvent:
    event = pb.TaskStart.parse(data)
    return TaskStartEvent(container_id=event.container_id, pid=event.pid)


def _exec_added(data: bytes) -> TaskExecAddedEvent:
    event = pb.TaskExecAdded.parse(data)
    return TaskExecAddedEvent(container_id=event.container_id, exec_id=event.exec_id)


def _exec_started(data: bytes) -> TaskExecStartedEvent:
    event = pb.TaskExecStarted.parse(data)
    return TaskExecStartedEvent(
        container_id=event.container_id, exec_id=event.exec_id, pid=event.pid
    )


_PARSERS: Final[Mapping[str, Callable[[bytes], ContainerdEvent]]] = MappingProxyType(
    {
        "containerd.events.TaskCreate": _create,
        "containerd.events.TaskStart": _start,
        "containerd.events.TaskExit": _exit,
        "containerd.events.TaskDelete": _delete,
        "containerd.events.TaskExecAdded": _exec_added,
        "containerd.events.TaskExecStarted": _exec_started,
        "containerd.events.TaskOOM": lambda data: TaskOOMEvent(
            container_id=pb.TaskOom.parse(data).container_id
        ),
        "containerd.events.TaskPaused": lambda data: TaskPausedEvent(
            container_id=pb.TaskPaused.parse(data).container_id
        ),
        "containerd.events.TaskResumed": lambda data: TaskResumedEvent(
            container_id=pb.TaskResumed.parse(data).container_id
        ),
    }
)
