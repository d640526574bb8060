"""Output of tasks for whoever reads a service's logs: read from their containers, sent as it comes.

A log may follow a task that has not begun yet, and tasks that come later. What is lost when a
session is lost is the reader's affair: it subscribes anew.

Source: moby, daemon/cluster/executor/container/controller.go, Logs; swarmkit, agent/worker.go.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Final
from urllib.parse import unquote_plus

import trio
from loguru import logger

from services.cluster.agent.controller import Controller
from services.cluster.agent.ports import Engine
from services.cluster.agent.task_run import TaskRun
from services.cluster.dispatcher.source import Session
from services.cluster.dispatcher.values import LogMessage, LogOptions, LogRequest, LogStop
from services.cluster.model.objects import Task
from services.containers.container import Container
from services.containers.logs import LogQuery
from services.containers.logs.render import parse_time_ns
from services.containers.stdio.streams import Stream
from services.errors import EngineError, NotFound, Unavailable, single_error

log = logger.bind(service="cluster")

SUBSCRIPTIONS: Final = 100
"""More at once are not begun: each may hold a thread for a moment and a file."""

BATCH_BYTES: Final = 256 * 1024
"""About how much goes with one call."""

_HEADER_BYTES: Final = 8
_LOOK_EVERY_S: Final = 0.5  # for tasks that come, and for containers of those that began


class LogService:
    """Serves the log requests of one session at a time."""

    def __init__(
        self,
        *,
        engine: Engine,
        controller: Controller,
        runs: Mapping[str, TaskRun],
    ) -> None:
        """`runs` are the node's tasks by id, as they are at any moment."""
        self._engine = engine
        self._controller = controller
        self._runs = runs

    @asynccontextmanager
    async def serving(self, session: Session) -> AsyncIterator[Subscriptions]:
        """Subscriptions of this session; leaving the block ends them."""
        async with trio.open_nursery() as nursery:
            yield Subscriptions(self, session, nursery)
            nursery.cancel_scope.cancel()

    def matching(self, request: LogRequest) -> list[Task]:
        """The tasks that a request asks for, those that there are now."""
        wanted = request.selector
        return [
            run.task
            for run in self._runs.values()
            if run.task.id in wanted.task_ids or run.task.service_id in wanted.service_ids
        ]

    async def send(self, session: Session, request: LogRequest) -> None:
        """Send all that was asked for, and as it comes if the reader follows."""
        with suppress(NotFound):  # nobody reads it any more
            with single_error():
                await self._send_all(session, request)
            await session.publish_logs(request.subscription_id, (), is_last=True)

    async def _send_all(self, session: Session, request: LogRequest) -> None:
        begun: set[str] = set()
        async with trio.open_nursery() as nursery:
            while True:
                for task in self.matching(request):
                    if task.id not in begun:
                        begun.add(task.id)
                        nursery.start_soon(self._send_task, session, request, task)
                if not request.options.follow or self._is_over(request, begun):
                    return
                await trio.sleep(_LOOK_EVERY_S)

    def _is_over(self, request: LogRequest, begun: set[str]) -> bool:
        """Whether no other task can come: single tasks were asked for, and all have begun."""
        wanted = request.selector
        return not wanted.service_ids and set(wanted.task_ids) <= begun

    async def _send_task(self, session: Session, request: LogRequest, task: Task) -> None:
        container = await self._container(task, request.options)
        if container is None:
            return
        try:
            async with aclosing(self._messages(container, task, request.options)) as batches:
                async for batch in batches:
                    await session.publish_logs(request.subscription_id, batch)
        except (NotFound, Unavailable):
            raise
        except EngineError as error:  # a driver that cannot be read, say
            log.warning("log of a task not sent", task=task.id, error=str(error))

    async def _container(self, task: Task, options: LogOptions) -> Container | None:
        """The task's container once it has run; a reader who follows waits for that."""
        while True:
            container = self._controller.find(task)
            if container is not None and container.status.runs:
                return container
            run = self._runs.get(task.id)
            if not options.follow or run is None or run.task.status.state.is_ended:
                return None
            await trio.sleep(_LOOK_EVERY_S)

    async def _messages(
        self, container: Container, task: Task, options: LogOptions
    ) -> AsyncGenerator[list[LogMessage], None]:
        reader = await self._engine.log_reader(container)
        async with reader.read(_query(options)) as blocks:
            async for block in blocks:
                batch: list[LogMessage] = []
                size = 0
                for message in parse_block(block, task):
                    batch.append(message)
                    size += len(message.data)
                    if size >= BATCH_BYTES:
                        yield batch
                        batch, size = [], 0
                if batch:
                    yield batch


class Subscriptions:
    """The log requests that are served in one session."""

    def __init__(self, service: LogService, session: Session, nursery: trio.Nursery) -> None:
        self._service = service
        self._session = session
        self._nursery = nursery
        self._scopes: dict[str, trio.CancelScope] = {}

    def take(self, message: LogRequest | LogStop) -> None:
        """Begin a subscription, or end one."""
        if isinstance(message, LogStop):
            if scope := self._scopes.get(message.subscription_id):
                scope.cancel()
        elif len(self._scopes) >= SUBSCRIPTIONS:
            log.warning("too many readers of logs", subscription=message.subscription_id)
        elif message.subscription_id not in self._scopes:
            scope = self._scopes[message.subscription_id] = trio.CancelScope()
            self._nursery.start_soon(self._serve, message, scope)

    async def _serve(self, request: LogRequest, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self._service.send(self._session, request)
        finally:
            self._scopes.pop(request.subscription_id, None)


def _query(options: LogOptions) -> LogQuery:
    streams = {
        *((Stream.STDOUT,) if options.stdout else ()),
        *((Stream.STDERR,) if options.stderr else ()),
    }
    return LogQuery(
        streams=frozenset(streams),
        follow=options.follow,
        tail=options.tail,
        since_ns=int(options.since.timestamp() * 1e9) if options.since is not None else 0,
        timestamps=True,
        details=True,
        multiplexed=True,
    )


def parse_block(block: bytes, task: Task) -> Iterable[LogMessage]:
    """The messages in whole frames with time stamps and details, as a log reader gives them.

    A frame without them, of a file that somebody else has written into, is left out.
    """
    position = 0
    while position + _HEADER_BYTES <= len(block):
        start = position + _HEADER_BYTES
        end = start + int.from_bytes(block[position + 4 : start], "big")
        try:
            stream = Stream(block[position])
            stamp, text, data = block[start:end].split(b" ", 2)
            timestamp_ns, details = parse_time_ns(stamp.decode()), _details(text.decode())
        except ValueError:  # UnicodeDecodeError is one
            log.warning("line of a log left out", task=task.id)
        else:
            yield LogMessage(
                task_id=task.id,
                node_id=task.node_id,
                service_id=task.service_id,
                timestamp_ns=timestamp_ns,
                stream=stream.label,
                data=data,
                details=details,
            )
        position = end


def _details(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}
