"""Calls to one manager, over one connection that lives as long as a block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any, Final

import trio
import trio_asyncio

from services.cluster.rpc.methods import PEER
from services.cluster.rpc.tls import MANAGER_HOST
from services.errors import DeadlineExceeded, InvalidParameter, Unavailable, single_error
from services.grpc.connection import report_to
from services.grpc.errors import grpc_errors
from services.grpc.link import Link, TcpTarget, open_link
from services.grpc.method import Method, ReplyT, RequestT
from services.grpc.stream import Stream

# A manager that is there has answered TCP's and TLS's greetings long before. TCP tries again after
# one second and after three; a node whose wire is mended in between goes on to the next manager.
CONNECT_LIMIT_S: Final = 3.0
DEFAULT_PORT: Final = 2377


class NoAnswer(Unavailable):
    """There was no connection in time: nothing can have been done. Who is patient may try again."""


@dataclass(frozen=True, slots=True)
class ManagerAddress:
    """Where a manager listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def manager_address(text: str) -> ManagerAddress:
    """host, host:port or [host]:port. Raises InvalidParameter."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = text, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidParameter(f"invalid address of a manager: {text}")
    return ManagerAddress(host, int(port))


class ManagerCalls:
    """Calls on one connection. All raise Unavailable once it is lost."""

    def __init__(self, link: Link, address: ManagerAddress) -> None:
        self._link = link
        self._name = f"{PEER} at {address}"

    async def call(self, method: Method[RequestT, ReplyT], request: RequestT) -> ReplyT:
        """One request, one reply. Raises DeadlineExceeded, and what the manager answers."""
        with trio.move_on_after(method.limit_s), self._errors(method.about("")):
            return await self._link.run(self._link.unary(method, request, ()))
        raise DeadlineExceeded(f"{self._name} has not answered in {method.limit_s:g} s")

    @asynccontextmanager
    async def stream(
        self, method: Method[RequestT, ReplyT], request: RequestT
    ) -> AsyncIterator[Stream[RequestT, ReplyT]]:
        """One request, many replies; leaving the block ends the call."""
        stream: Stream[RequestT, ReplyT] = Stream(
            self._link, method, (), method.about(""), self._errors
        )
        try:
            await stream.send(request, end=True)
            yield stream
        finally:
            await stream.close()

    def close(self) -> None:
        """Give the connection up: every call on it fails."""
        self._link.close()

    def _errors(self, what: str) -> AbstractContextManager[None]:
        return grpc_errors(what, peer=self._name)


@asynccontextmanager
async def open_manager(
    address: ManagerAddress, context: SSLContext, *, name: str = MANAGER_HOST
) -> AsyncIterator[ManagerCalls]:
    """A connection to a manager. Raises Unavailable when there is none within CONNECT_LIMIT_S, or
    when its certificate is none of this cluster's managers'."""
    with single_error():
        async with trio_asyncio.open_loop() as loop:
            loop.set_exception_handler(report_to("cluster.rpc"))
            link = await _open(loop, address, context, name)
            try:
                yield ManagerCalls(link, address)
            finally:
                link.close()


async def _open(loop: Any, address: ManagerAddress, context: SSLContext, name: str) -> Link:
    target = TcpTarget(host=address.host, port=address.port, tls=context, tls_name=name)
    with trio.move_on_after(CONNECT_LIMIT_S):
        return await open_link(
            loop, target, peer=PEER, errors=lambda what: grpc_errors(what, peer=PEER)
        )
    raise NoAnswer(f"{PEER} at {address} has not answered in {CONNECT_LIMIT_S:g} s")
