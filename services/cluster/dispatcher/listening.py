"""An `AssignmentSource` whose facts the node itself hears before its agent has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from services.cluster.dispatcher.source import AssignmentSource, Session
from services.cluster.dispatcher.values import (
    AttachmentWish,
    LogMessage,
    SessionFacts,
    SessionMessage,
    TaskUpdate,
)
from services.cluster.model.objects import NodeDescription

Hear = Callable[[SessionFacts], Awaitable[None]]


class ListeningSource:
    """Around another source. `hear` keeps managers' addresses and roots, renews certificates."""

    def __init__(self, source: AssignmentSource, hear: Hear) -> None:
        self._source = source
        self._hear = hear

    @asynccontextmanager
    async def session(self, description: NodeDescription) -> AsyncIterator[Session]:
        """See `AssignmentSource`."""
        async with self._source.session(description) as session:
            yield _ListeningSession(session, self._hear)


class _ListeningSession:
    def __init__(self, session: Session, hear: Hear) -> None:
        self._session = session
        self._hear = hear

    async def receive(self) -> SessionMessage:
        message = await self._session.receive()
        if isinstance(message, SessionFacts):
            await self._hear(message)
        return message

    async def update_status(self, updates: Sequence[TaskUpdate]) -> None:
        await self._session.update_status(updates)

    async def describe(self, description: NodeDescription) -> None:
        await self._session.describe(description)

    async def publish_logs(
        self, subscription_id: str, messages: Sequence[LogMessage], *, is_last: bool = False
    ) -> None:
        await self._session.publish_logs(subscription_id, messages, is_last=is_last)

    async def attach(self, wish: AttachmentWish) -> str:
        return await self._session.attach(wish)
