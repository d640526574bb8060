"""A worker's source of work: sessions with any manager over the network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import trio
from loguru import logger

from protos.generated.cluster import (
    AttachRequest,
    DescribeRequest,
    HeartbeatRequest,
    LogsRequest,
    SessionRequest,
    StatusRequest,
)
from protos.generated.cluster import SessionMessage as SessionMessageProto
from services.cluster.ca.credentials import HeldCredentials, wait_renewed
from services.cluster.dispatcher.source import Session
from services.cluster.dispatcher.values import (
    Assignments,
    AttachmentWish,
    LogMessage,
    SessionFacts,
    SessionMessage,
    TaskUpdate,
)
from services.cluster.model.objects import NodeDescription
from services.cluster.rpc import methods
from services.cluster.rpc.client import ManagerCalls, manager_address, open_manager
from services.cluster.rpc.codec import decode_session_message, encode_json, encode_logs
from services.cluster.rpc.remotes import Remotes
from services.cluster.rpc.tls import client_context
from services.cluster.rpc.view_changes import ViewReceiver
from services.errors import DeadlineExceeded, EngineError, Unavailable, single_error
from services.grpc.stream import Stream

# From the call to the first message: the manager stores the node's description meanwhile.
OPEN_LIMIT_S: Final = 10.0
MISSES: Final = 2  # beats in a row without an answer end a session

MessageStream = Stream[SessionRequest, SessionMessageProto]

log = logger.bind(service="cluster.rpc")


class RemoteSource:
    """An `AssignmentSource`. A session ends when the node's certificate is renewed: the next one
    shows the new one.

    `data_path_addr`, bare, is where other nodes are to send what goes over networks, if not to the
    address that managers see.
    """

    def __init__(
        self, held: HeldCredentials, remotes: Remotes, *, data_path_addr: str = ""
    ) -> None:
        self._held = held
        self._data_path_addr = data_path_addr
        self._remotes = remotes

    @asynccontextmanager
    async def session(self, description: NodeDescription) -> AsyncIterator[Session]:
        """See `AssignmentSource`. Each manager is tried once."""
        with single_error():
            async with (
                self._with_any(description) as session,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(session.keep_alive)
                nursery.start_soon(self._end_when_renewed, session)
                yield session
                nursery.cancel_scope.cancel()

    async def _end_when_renewed(self, session: RemoteSession) -> None:
        await wait_renewed(self._held)
        session.close()

    @asynccontextmanager
    async def _with_any(self, description: NodeDescription) -> AsyncIterator[RemoteSession]:
        context = client_context(self._held.credentials)
        error = Unavailable("no manager of the swarm is known")
        for address in self._remotes.candidates():
            async with AsyncExitStack() as attempt:
                try:
                    calls = await attempt.enter_async_context(
                        open_manager(manager_address(address), context)
                    )
                    request = SessionRequest(
                        description_json=encode_json(description),
                        data_path_addr=self._data_path_addr,
                    )
                    session = await _opened(attempt, calls, request)
                except (Unavailable, DeadlineExceeded) as failure:
                    self._remotes.failed(address)
                    error = Unavailable(str(failure))
                    continue
                self._remotes.answered(address)
                yield session
                return
        raise error


async def _opened(
    stack: AsyncExitStack, calls: ManagerCalls, request: SessionRequest
) -> RemoteSession:
    """A session on a connection; its stream is closed with `stack`."""
    stream = await stack.enter_async_context(calls.stream(methods.SESSION, request))
    views = ViewReceiver()
    with trio.move_on_after(OPEN_LIMIT_S):
        first = await _next(stream, views)
        if not isinstance(first, SessionFacts):
            raise Unavailable("the manager did not begin with the facts")
        return RemoteSession(calls, stream, first, views)
    raise Unavailable(f"the manager has opened no session in {OPEN_LIMIT_S:g} s")


async def _next(stream: MessageStream, views: ViewReceiver) -> SessionMessage:
    message = await stream.receive()
    if message is None:
        raise Unavailable("the manager has ended the session")
    told = decode_session_message(message)
    if isinstance(told, Assignments):
        return views.with_networks(told, message.networks)
    return told


class RemoteSession:
    """A `Session` on one connection, which is given up when a heartbeat fails."""

    def __init__(
        self, calls: ManagerCalls, stream: MessageStream, facts: SessionFacts, views: ViewReceiver
    ) -> None:
        self._calls = calls
        self._views = views
        self._stream = stream
        self._id = facts.session_id
        self._beat_every_s = facts.heartbeat_period_s
        self._first: SessionFacts | None = facts

    async def keep_alive(self) -> None:
        """Beat until that fails; then every other call fails too.

        One beat that is not answered in time is no loss: the managers may be electing, and give a
        node the time of three.
        """
        misses = 0
        while misses < MISSES:
            await trio.sleep(self._beat_every_s)
            try:
                await self._calls.call(methods.HEARTBEAT, HeartbeatRequest(session_id=self._id))
            except DeadlineExceeded:
                misses += 1
            except EngineError as error:
                log.bind(error=str(error)).warning("the session with a manager was lost")
                break
            else:
                misses = 0
        self._calls.close()

    def close(self) -> None:
        """Give the connection up; every call fails from now on."""
        self._calls.close()

    async def receive(self) -> SessionMessage:
        """See `Session`."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        message = await _next(self._stream, self._views)
        if isinstance(message, SessionFacts):
            self._beat_every_s = message.heartbeat_period_s
        return message

    async def update_status(self, updates: Sequence[TaskUpdate]) -> None:
        """See `Session`."""
        request = StatusRequest(session_id=self._id, updates_json=encode_json(updates))
        await self._calls.call(methods.UPDATE_STATUS, request)

    async def describe(self, description: NodeDescription) -> None:
        """See `Session`."""
        request = DescribeRequest(session_id=self._id, description_json=encode_json(description))
        await self._calls.call(methods.DESCRIBE, request)

    async def publish_logs(
        self, subscription_id: str, messages: Sequence[LogMessage], *, is_last: bool = False
    ) -> None:
        """See `Session`."""
        request = LogsRequest(
            session_id=self._id,
            subscription_id=subscription_id,
            messages=encode_logs(messages),
            is_last=is_last,
        )
        await self._calls.call(methods.PUBLISH_LOGS, request)

    async def attach(self, wish: AttachmentWish) -> str:
        """See `Session`."""
        request = AttachRequest(session_id=self._id, wish_json=encode_json(wish))
        reply = await self._calls.call(methods.ATTACH, request)
        return reply.task_id
