"""services.grpc.link: what a connection is made with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trio
import trio_asyncio

from services.containerd.connection import VERSION
from services.errors import Unavailable
from services.grpc import link as link_module
from services.grpc.link import SILENCE_LIMIT_S, TcpTarget, open_link


@contextmanager
def errors(_what: str) -> Iterator[None]:
    yield


async def test_the_kernel_is_told_for_how_long_a_peer_may_be_silent() -> None:
    """By the time that is written beside it."""
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


@pytest.mark.engine
def test_a_silent_peer_of_the_network_is_given_up() -> None:
    """A way that swallows all packets: left to itself the kernel would try for a quarter of an
    hour."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace")
    code = f"import trio; from {__name__} import given_up as f; trio.run(f)"
    command = ["unshare", "--net", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


async def given_up() -> None:
    """In a network namespace of its own; the limit is a fifth of the usual one."""
    link_module.SILENCE_LIMIT_S = 1.0  # type: ignore[misc]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        target = TcpTarget(host="127.0.0.1", port=port, tls=None)
        async with trio_asyncio.open_loop() as loop, trio.open_nursery() as nursery:
            link = await open_link(loop, target, peer="somebody", errors=errors)
            hook = "type filter hook input priority 0;"
            rules = f"table ip own {{\nchain own {{\n{hook}\ntcp dport {port} drop\n}}\n}}\n"
            subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)

            async def ask() -> None:
                with suppress(Exception):  # however it ends
                    await link.run(link.unary(VERSION, VERSION.request(), ()))

            nursery.start_soon(ask)
            with trio.fail_after(60):
                await link.lost.wait()
            nursery.cancel_scope.cancel()


async def test_who_cannot_be_reached_is_named_with_the_reason() -> None:
    """The system's own words for it, and nothing of a connection that was lost."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    target = TcpTarget(host="127.0.0.1", port=port, tls=None)
    async with trio_asyncio.open_loop() as loop:
        with pytest.raises(Unavailable, match=rf"^who at 127.0.0.1:{port} cannot be reached: Conn"):
            await open_link(loop, target, peer="who", errors=errors)
