"""services.grpc.link: what a connection is made with."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio_asyncio

from services.errors import Unavailable
from services.grpc.link import SILENCE_LIMIT_S, TcpTarget, open_link


@contextmanager
def errors(_what: str) -> Iterator[None]:
    yield


async def test_a_silent_peer_of_the_network_is_given_up() -> None:
    """The kernel does that, however rarely it would try again by then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = TcpTarget(host="127.0.0.1", port=server.getsockname()[1], tls=None)
        async with trio_asyncio.open_loop() as loop:
            link = await open_link(loop, target, peer="somebody", errors=errors)
            try:
                protocol = link._channel._protocol
                assert protocol is not None
                transport = protocol.connection._transport
                connected = transport.get_extra_info("socket")
                limit_ms = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                assert limit_ms == SILENCE_LIMIT_S * 1000
            finally:
                link.close()


async def test_who_cannot_be_reached_is_named_with_the_reason() -> None:
    """The system's own words for it, and nothing of a connection that was lost."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    target = TcpTarget(host="127.0.0.1", port=port, tls=None)
    async with trio_asyncio.open_loop() as loop:
        with pytest.raises(Unavailable, match=rf"^who at 127.0.0.1:{port} cannot be reached: Conn"):
            await open_link(loop, target, peer="who", errors=errors)
