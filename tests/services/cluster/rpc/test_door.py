"""Who may connect to the swarm port, and for how long: the rule, and real connections."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from services.cluster.model.objects import NodeDescription
from services.cluster.rpc.door import Door, Visitor
from services.cluster.rpc.tls import unchecked_context
from tests.services.cluster.rpc.test_nodes import eventually, has_session, work, worker_source
from tests.support.cluster_objects import a_cluster
from tests.support.managers import Manager, a_manager
from tests.support.memory_store import MemoryStore


def entered(door: Door, address: str, closed: list[str], name: str) -> Visitor | None:
    return door.enter(address, lambda: closed.append(name))


def test_the_oldest_stranger_goes_for_who_comes() -> None:
    """At one address, and in all; whoever has shown a certificate stays."""
    door, closed = Door(most=4, most_of_one=2), list[str]()
    known = entered(door, "a", closed, "a1")
    assert known is not None
    known.is_known = True
    assert entered(door, "a", closed, "a2")
    assert entered(door, "a", closed, "a3")
    assert closed == ["a2"]
    assert entered(door, "b", closed, "b1")
    assert entered(door, "b", closed, "b2")
    assert len(door) == 4
    assert entered(door, "c", closed, "c1")
    assert closed == ["a2", "a3"]
    assert len(door) == 4


def test_who_comes_is_refused_when_only_nodes_are_there() -> None:
    """Until one of them has left; leaving twice is leaving once."""
    door, closed = Door(most=2, most_of_one=2), list[str]()
    visitors = [entered(door, "a", closed, "a"), entered(door, "b", closed, "b")]
    for visitor in visitors:
        assert visitor is not None
        visitor.is_known = True
    assert entered(door, "c", closed, "c") is None
    assert visitors[0] is not None
    door.leave(visitors[0])
    door.leave(visitors[0])
    assert len(door) == 1
    assert entered(door, "c", closed, "c")
    assert closed == []


def connected(manager: Manager) -> socket.socket:
    host, _, port = manager.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


async def is_closed(connection: socket.socket) -> bool:
    """Wait until the other end has closed."""
    connection.setblocking(False)
    with trio.move_on_after(60):
        await trio.lowlevel.wait_readable(connection)
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True
    return False


async def test_strangers_keep_no_node_out(tmp_path: Path) -> None:
    """Whoever only connects is closed for who comes later; a node's session goes on."""
    store, door = MemoryStore([a_cluster()]), Door(most=3, most_of_one=3)
    async with (
        a_manager(store, tmp_path, door=door) as manager,
        worker_source(manager).session(NodeDescription()) as session,
    ):
        await work(session)
        strangers = [connected(manager) for _ in range(5)]
        try:
            for stranger in strangers[:3]:
                assert await is_closed(stranger)
            async with worker_source(manager, "n2").session(NodeDescription()) as other:
                await work(other)
                assert has_session(manager, "n1")
                assert len(door) <= 3
        finally:
            for stranger in strangers:
                stranger.close()
        await eventually(lambda: len(door) == 1)


async def test_who_does_not_speak_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS must be there in time."""
    monkeypatch.setattr("services.cluster.rpc.server.HANDSHAKE_LIMIT_S", 2.0)
    door = Door()
    async with a_manager(MemoryStore([a_cluster()]), tmp_path, door=door) as manager:
        with connected(manager) as stranger:
            await eventually(lambda: len(door) == 1)
            assert await is_closed(stranger)
        await eventually(lambda: len(door) == 0)


async def test_who_shows_no_certificate_is_closed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TLS, too: a join takes no longer."""
    monkeypatch.setattr("services.cluster.rpc.server.STRANGER_LIMIT_S", 3.0)
    door = Door()
    async with a_manager(MemoryStore([a_cluster()]), tmp_path, door=door) as manager:
        host, _, port = manager.address.rpartition(":")
        stream = await trio.open_ssl_over_tcp_stream(
            host, int(port), ssl_context=unchecked_context()
        )
        await stream.do_handshake()
        with trio.fail_after(60):
            while True:
                try:
                    if not await stream.receive_some():
                        break
                except trio.BrokenResourceError:
                    break
        await eventually(lambda: len(door) == 0)
