"""The userland proxy: bytes, ends, resets, bounds; its process's end and the engine's."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from services.networks.published.proxy import ProxiedPort, ProxyLost, UserlandProxy
from services.networks.published.proxy_process.bounds import MOST_OF_ONE
from services.networks.published.proxy_process.proxy import Proxy
from tests.support.standstill import stop_process

LIMIT_S = 30


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """The host's end of a port."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=128) as bound:
        yield bound


@pytest.fixture
def inside() -> Iterator[socket.socket]:
    """What a container listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT_S)
        yield server


@pytest.fixture(autouse=True)
def no_process_stays() -> Iterator[None]:
    """Whatever happens in a test, its last connection takes the process with it."""
    yield
    for _ in range(200):
        if not proxy_pids():
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"left running: {proxy_pids()}")


def proxy_pids() -> list[int]:
    """The proxies among this process's children; threads and children may end meanwhile."""
    children = b" ".join(_read(file) for file in Path("/proc/self/task").glob("*/children"))
    pids = {int(pid) for pid in children.split()}
    return [pid for pid in pids if b"proxy_process" in _read(Path(f"/proc/{pid}/cmdline"))]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def led(bound: socket.socket, to: socket.socket, protocol: str = "tcp") -> ProxiedPort:
    address, port, *_ = to.getsockname()
    return ProxiedPort(bound=bound, protocol=protocol, address=address, port=port)


@asynccontextmanager
async def running(*ports: ProxiedPort) -> AsyncIterator[UserlandProxy]:
    """The proxy for owner `c`, started anew when it ends."""
    proxy = UserlandProxy()

    async def keep(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        while True:
            try:
                await proxy.run(task_status=task_status)
            except ProxyLost:
                task_status = trio.TASK_STATUS_IGNORED

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(keep)
            proxy.serve("c", ports)
            yield proxy
            nursery.cancel_scope.cancel()


def client_of(bound: socket.socket) -> socket.socket:
    client = socket.create_connection(bound.getsockname()[:2], timeout=LIMIT_S)
    client.settimeout(LIMIT_S)
    return client


async def in_thread(call: Callable[..., object], *arguments: object) -> object:
    return await trio.to_thread.run_sync(partial(call, *arguments), abandon_on_cancel=True)


def everything(connection: socket.socket) -> bytes:
    data = b""
    while part := connection.recv(1 << 16):
        data += part
    return data


async def connected(
    bound: socket.socket, server: socket.socket
) -> tuple[socket.socket, socket.socket]:
    """A client's end and the container's."""
    client = client_of(bound)
    accepted, _ = await trio.to_thread.run_sync(server.accept)
    accepted.settimeout(LIMIT_S)
    return client, accepted


async def test_both_ways_and_each_ends_by_itself(
    listener: socket.socket, inside: socket.socket
) -> None:
    """Megabytes arrive whole while nobody reads the other way; a half that is closed stays so."""
    up, down = random.Random(1).randbytes(3 << 20), random.Random(2).randbytes(5 << 20)
    async with running(led(listener, inside)):
        client, accepted = await connected(listener, inside)
        with client, accepted:
            received: dict[str, bytes] = {}

            def as_client() -> None:
                client.sendall(up)
                client.shutdown(socket.SHUT_WR)
                received["down"] = everything(client)

            def as_container() -> None:
                received["up"] = everything(accepted)
                accepted.sendall(down)
                accepted.shutdown(socket.SHUT_WR)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(in_thread, as_client)
                nursery.start_soon(in_thread, as_container)
        assert received == {"up": up, "down": down}


async def test_resets_and_refusals_are_passed_on(
    listener: socket.socket, inside: socket.socket
) -> None:
    """A reset ends the other end by a reset; so does a container that refuses."""
    async with running(led(listener, inside)):
        client, accepted = await connected(listener, inside)
        with client:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            accepted.close()
            with pytest.raises(ConnectionResetError):
                await in_thread(client.recv, 10)
        inside.close()
        with pytest.raises(ConnectionResetError), client_of(listener) as client:
            await in_thread(client.recv, 10)


async def test_a_reader_that_stands_still_holds_only_itself(
    listener: socket.socket, inside: socket.socket
) -> None:
    """What is held for it is bounded, and others are served meanwhile."""
    async with running(led(listener, inside)):
        slow, slow_inside = await connected(listener, inside)
        with slow, slow_inside:
            slow_inside.setblocking(False)
            sent = 0
            with trio.move_on_after(0.3):
                while True:
                    try:
                        sent += slow_inside.send(bytes(1 << 16))
                    except BlockingIOError:
                        await trio.sleep(0.01)
            assert 0 < sent < 64 << 20
            client, accepted = await connected(listener, inside)
            with client, accepted:
                accepted.sendall(b"here")
                assert await in_thread(client.recv, 10) == b"here"


async def test_too_many_wait(listener: socket.socket, inside: socket.socket) -> None:
    """Connections past a port's bound stay in the backlog until another ends."""
    assert MOST_OF_ONE > 1000  # the bound itself is tried without a process
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    proxy = Proxy(theirs, most_sockets=4)
    thread = threading.Thread(target=proxy.run)
    thread.start()
    port = led(listener, inside)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, listener.fileno().to_bytes(4, "little"))]
    ours.sendmsg([port.message("c")], rights)
    assert ours.recv(10) == b"ok"
    pairs = [await connected(listener, inside) for _ in range(2)]
    with client_of(listener) as waiting:
        inside.settimeout(0.2)
        with pytest.raises(TimeoutError):
            inside.accept()
        for end in pairs[0]:
            end.close()
        inside.settimeout(LIMIT_S)
        accepted, _ = await trio.to_thread.run_sync(inside.accept)
        accepted.sendall(b"now")
        waiting.settimeout(LIMIT_S)
        assert await in_thread(waiting.recv, 10) == b"now"
    ours.close()
    for end in (*pairs[1], accepted):
        end.close()
    await in_thread(thread.join)


async def test_datagrams_find_their_way_back() -> None:
    """Each client has a session of its own; the answer comes from the address it has sent to."""
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(("::", 0))
        server.bind(("127.0.0.1", 0))
        server.settimeout(LIMIT_S)
        async with running(led(bound, server, "udp")):
            sources = set()
            clients = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(3)]
            for number, client in enumerate(clients):
                client.settimeout(LIMIT_S)
                client.connect(("::1", bound.getsockname()[1]))  # hears of no other address
                for _ in range(2):
                    client.send(b"%d" % number)
                    data, source = await trio.to_thread.run_sync(server.recvfrom, 100)
                    sources.add(source)
                    server.sendto(b"re" + data, source)
                    assert await in_thread(client.recv, 10) == b"re%d" % number
            assert len(sources) == 3
            for client in clients:
                client.close()


async def test_a_stopped_owner_has_nothing(listener: socket.socket, inside: socket.socket) -> None:
    """Its connections are reset, and its port is free but for our own socket."""
    async with running(led(listener, inside)) as proxy:
        client, accepted = await connected(listener, inside)
        with client, accepted:
            await proxy.stop("c")
            await proxy.stop("c")
            with pytest.raises(ConnectionResetError):
                await in_thread(client.recv, 10)
        address = listener.getsockname()[:2]
        listener.close()
        with socket.socket(socket.AF_INET6) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(address)
            other.listen()


async def test_a_killed_process_is_replaced(listener: socket.socket, inside: socket.socket) -> None:
    """Who connects meanwhile is served by the next one."""
    async with running(led(listener, inside)) as proxy:
        client, accepted = await connected(listener, inside)
        (pid,) = proxy_pids()
        stop_process(pid)
        with client_of(listener) as waiting, client, accepted:
            os.kill(pid, signal.SIGKILL)
            assert await in_thread(client.recv, 10) == b""
            again, _ = await trio.to_thread.run_sync(inside.accept)
            with again:
                again.sendall(b"next")
                assert await in_thread(waiting.recv, 10) == b"next"
        await proxy.stop("c")


async def test_connections_outlive_the_engine(
    listener: socket.socket, inside: socket.socket
) -> None:
    """The port is closed at once, they are carried on, and the process ends with the last one."""
    async with running(led(listener, inside)):
        client, accepted = await connected(listener, inside)
        (pid,) = proxy_pids()
    with client, accepted:
        address = listener.getsockname()[:2]
        listener.close()
        with socket.create_server(address, family=socket.AF_INET6):
            pass
        client.sendall(b"still")
        assert await in_thread(accepted.recv, 10) == b"still"
        assert proxy_pids() == [pid]


async def test_no_process_without_a_port() -> None:
    """It is started when it is needed."""
    async with running():
        await trio.testing.wait_all_tasks_blocked()
        assert proxy_pids() == []
