"""A manager's own agent gets its work in its own process: the same sessions, without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from services.cluster.ca.credentials import HeldCredentials, wait_renewed
from services.cluster.dispatcher.dispatcher import Dispatcher
from services.cluster.dispatcher.sessions import ManagerSession, Peer
from services.cluster.dispatcher.source import Session
from services.cluster.model.objects import NodeDescription
from services.errors import Unavailable, single_error

READY_LIMIT_S: Final = 5.0


class LocalSource:
    """An `AssignmentSource` over the dispatcher of the same process.

    `addr` is the node's own, as the managers are to see it, and `data_path_addr` that for what goes
    over networks, if it is another one; both are bare. A session ends when the certificate is
    renewed: the next one shows the new one.
    """

    def __init__(
        self, dispatcher: Dispatcher, held: HeldCredentials, *, addr: str, data_path_addr: str = ""
    ) -> None:
        self._dispatcher = dispatcher
        self._held = held
        self._addr = addr
        self._data_path_addr = data_path_addr

    @asynccontextmanager
    async def session(self, description: NodeDescription) -> AsyncIterator[Session]:
        """See `AssignmentSource`. A dispatcher that is about to run is waited for."""
        with trio.move_on_after(READY_LIMIT_S):
            await self._dispatcher.wait_running()
        with single_error():
            async with (
                self._dispatcher.session(self._peer(), description) as session,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(_beat, session)
                nursery.start_soon(_end_when_renewed, session, self._held)
                yield session
                nursery.cancel_scope.cancel()

    def _peer(self) -> Peer:
        credentials = self._held.credentials
        identity = credentials.identity
        return Peer(
            node_id=identity.node_id,
            role=identity.role,
            addr=self._addr,
            data_path_addr=self._data_path_addr,
            issuer=credentials.issuer,
        )


async def _beat(session: ManagerSession) -> None:
    """Until the session is lost, which its other calls tell."""
    while True:
        await trio.sleep(session.beat_every_s)
        try:
            await session.beat()
        except Unavailable as error:
            session.lose(str(error))
            return


async def _end_when_renewed(session: ManagerSession, held: HeldCredentials) -> None:
    await wait_renewed(held)
    session.lose("the node has another certificate")
