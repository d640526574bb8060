"""supervisor.faces.api_servers: one server a listener, while listeners come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from services.api.http.server import ApiServer, ServerConfig
from services.api.listening.hosts import UnixHost
from services.api.listening.listener import Listener
from services.api.listening.listeners import Listeners
from supervisor.faces.api_servers import ApiServers
from supervisor.otp import ChildSpec, ChildType, Supervisor, stop_request
from tests.services.api.support import echo_app, get


class Api:
    """Listeners and their servers in a tree of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listeners = Listeners([UnixHost(path=folder / "a")], group="")
        config = ServerConfig(drain_s=5.0)
        self.servers = ApiServers(
            lambda listener: ApiServer(
                echo_app, listener, config=config, stop_request=stop_request
            ),
            self.listeners.listeners,
        )
        self.root = Supervisor(
            [
                ChildSpec(id="listeners", start=self.listeners.run),
                ChildSpec(id="api", start=self.servers.run, type=ChildType.SUPERVISOR),
            ],
            name="root",
        )

    async def listen(self, name: str) -> Listener:
        """One listener more, served."""
        (added,) = await self.listeners.add(UnixHost(path=self.folder / name), tls=None)
        await self.servers.add(added)
        return added

    def children(self) -> list[str]:
        """Names of the servers in the tree."""
        (node,) = [node for node in self.root.tree().children if node.path == "root/api"]
        return [child.path.rpartition("/")[2] for child in node.children]

    async def open(self, name: str) -> trio.SocketStream:
        return await trio.open_unix_socket(str(self.folder / name))

    async def answers(self, name: str) -> bool:
        stream = await self.open(name)
        return await ask(stream)


async def ask(stream: trio.SocketStream) -> bool:
    """One request on a connection that stays."""
    await stream.send_all(get())
    return b"200 OK" in await stream.receive_some(65536)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Api]:
    api = Api(folder)
    async with trio.open_nursery() as nursery:
        await nursery.start(api.root.run)
        yield api
        api.root.stop()


async def test_servers_come_and_go_beside_the_others(tmp_path: Path) -> None:
    """A connection to one that stays is not touched; one that goes drains and is forgotten."""
    async with running(tmp_path) as api:
        staying = await api.open("a")
        assert await ask(staying)
        added = await api.listen("b")
        leaving = await api.open("b")
        assert await ask(leaving)
        assert api.children() == ["server-0", "server-1"]
        await api.servers.retire(added)
        api.listeners.remove(added)
        assert await leaving.receive_some(1) == b""  # idle: closed at once
        await api.servers.settle()
        assert api.children() == ["server-0"]
        assert await ask(staying)
        with pytest.raises(FileNotFoundError):
            await api.open("b")
        await api.listen("b")
        assert await api.answers("b")
        assert api.children() == ["server-0", "server-2"]


async def test_a_new_beginning_has_the_servers_of_then(tmp_path: Path) -> None:
    """Those that were added, and not those that were taken away."""
    async with running(tmp_path) as api:
        await api.listen("b")
        first = api.listeners.listeners[0]
        await api.servers.retire(first)
        api.listeners.remove(first)
        await api.servers.settle()
        await api.root.terminate_child("api")
        await api.root.restart_child("api")
        assert api.children() == ["server-1"]
        assert await api.answers("b")


async def test_a_server_that_does_not_start_is_forgotten(tmp_path: Path) -> None:
    """Its listener is not open."""
    async with running(tmp_path) as api:
        closed = Listener(UnixHost(path=tmp_path / "c"))
        with pytest.raises(Exception, match="is not open"):
            await api.servers.add(closed)
        assert closed not in api.servers
        assert api.children() == ["server-0"]
