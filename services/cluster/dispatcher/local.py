"""A manager's own agent gets its work in its own process: the same sessions, without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from services.cluster.dispatcher.dispatcher import Dispatcher
from services.cluster.dispatcher.sessions import ManagerSession, Peer
from services.cluster.dispatcher.source import Session
from services.cluster.model.objects import NodeDescription
from services.errors import Unavailable, single_error


class LocalSource:
    """An `AssignmentSource` over the dispatcher of the same process.

    `peer` says who this node is at present: its certificate may be renewed between two sessions.
    """

    def __init__(self, dispatcher: Dispatcher, peer: Callable[[], Peer]) -> None:
        self._dispatcher = dispatcher
        self._peer = peer

    @asynccontextmanager
    async def session(self, description: NodeDescription) -> AsyncIterator[Session]:
        """See `AssignmentSource`."""
        with single_error():
            async with (
                self._dispatcher.session(self._peer(), description) as session,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(_beat, session)
                yield session
                nursery.cancel_scope.cancel()


async def _beat(session: ManagerSession) -> None:
    """Until the session is lost, which its other calls tell."""
    while True:
        await trio.sleep(session.beat_every_s)
        try:
            await session.beat()
        except Unavailable as error:
            session.lose(str(error))
            return
