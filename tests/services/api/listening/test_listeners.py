"""Opening, keeping and closing the listening sockets."""

from __future__ import annotations

import grp
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from loguru import logger

from services.api.listening.hosts import FdHost, Host, InvalidHostError, TcpHost, UnixHost
from services.api.listening.listeners import Listeners
from services.api.listening.sockets import ListenError, group_id
from services.api.listening.systemd import ActivatedSockets
from services.errors import Unavailable

OWN_GROUP = grp.getgrgid(os.getgid()).gr_name


async def test_a_unix_socket_has_its_mode_and_goes_with_its_child(tmp_path: Path) -> None:
    """0660 and the group at once; usable while the child runs; removed when it ends."""
    path = tmp_path / "api.sock"
    listeners = Listeners([UnixHost(path=path)], group=OWN_GROUP)
    (listener,) = listeners.listeners
    with pytest.raises(Unavailable):
        listener.dup()
    async with trio.open_nursery() as nursery:
        await nursery.start(listeners.run)
        status = path.stat()
        assert stat.S_IMODE(status.st_mode) == 0o660
        assert status.st_gid == os.getgid()
        with listener.dup() as copy:
            assert not copy.get_inheritable()
            (await trio.open_unix_socket(str(path))).socket.close()
        nursery.cancel_scope.cancel()
    assert not path.exists()
    with pytest.raises(Unavailable):
        listener.dup()


async def test_a_stale_socket_is_replaced_and_a_living_one_refused(tmp_path: Path) -> None:
    """A file that nobody listens on is taken over; a living one and what is no socket are not."""
    path = tmp_path / "api.sock"
    listeners = Listeners([UnixHost(path=path)], group=OWN_GROUP)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ListenError, match="bind: address already in use"):
            await listeners.run()
        assert path.exists()
    async with trio.open_nursery() as nursery:
        await nursery.start(listeners.run)
        nursery.cancel_scope.cancel()
    path.write_text("precious")
    with pytest.raises(ListenError, match="not a socket"):
        await listeners.run()
    assert path.read_text() == "precious"


async def test_another_daemons_socket_survives_our_end(tmp_path: Path) -> None:
    """Who replaced our file keeps it when we stop."""
    path = tmp_path / "api.sock"
    listeners = Listeners([UnixHost(path=path)], group=OWN_GROUP)
    async with trio.open_nursery() as nursery:
        await nursery.start(listeners.run)
        path.unlink()
        path.write_text("another's")
        nursery.cancel_scope.cancel()
    assert path.read_text() == "another's"


async def test_what_was_opened_is_closed_when_the_next_cannot_be(tmp_path: Path) -> None:
    """A failed start leaves nothing behind."""
    path = tmp_path / "api.sock"
    missing = tmp_path / "missing" / "api.sock"
    listeners = Listeners([UnixHost(path=path), UnixHost(path=missing)], group=OWN_GROUP)
    with pytest.raises(ListenError, match="No such file"):
        await listeners.run()
    assert not path.exists()
    too_long = tmp_path / ("x" * 200)
    with pytest.raises(ListenError, match="too long"):
        await Listeners([UnixHost(path=too_long)], group=OWN_GROUP).run()


async def test_tcp_is_opened_with_a_warning(tmp_path: Path) -> None:
    """The port in use is told; without client certificates the log says what that means."""
    messages: list[str] = []
    sink = logger.add(lambda message: messages.append(str(message)), level="WARNING")
    listeners = Listeners([TcpHost(host="127.0.0.1", port=0)])
    try:
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(listeners.run)
            port = int(listener.address.rpartition(":")[2])
            assert port > 0
            taken = Listeners([TcpHost(host="127.0.0.1", port=port)])
            with pytest.raises(ListenError, match=f"listen tcp 127.0.0.1:{port}: bind: address al"):
                await taken.run()
            nursery.cancel_scope.cancel()
    finally:
        logger.remove(sink)
    assert any("without client certificates" in message for message in messages)


async def test_a_name_that_does_not_resolve_is_refused() -> None:
    """The error names the host."""
    with pytest.raises(ListenError, match=r"nowhere\.invalid"):
        await Listeners([TcpHost(host="nowhere.invalid", port=1)]).run()


async def test_listeners_can_run_again(tmp_path: Path) -> None:
    """After a restart the same objects give out sockets again."""
    path = tmp_path / "api.sock"
    listeners = Listeners([UnixHost(path=path)], group=OWN_GROUP)
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(listeners.run)
            listeners.listeners[0].dup().close()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def opened(*hosts: Host) -> AsyncIterator[Listeners]:
    listeners = Listeners(hosts, group=OWN_GROUP)
    async with trio.open_nursery() as nursery:
        await nursery.start(listeners.run)
        yield listeners
        nursery.cancel_scope.cancel()


async def test_one_is_added_and_taken_away_beside_the_others(tmp_path: Path) -> None:
    """The others keep their sockets; after a restart there are those of the last change."""
    first, second = UnixHost(path=tmp_path / "a"), UnixHost(path=tmp_path / "b")
    listeners = Listeners([first], group=OWN_GROUP)
    async with trio.open_nursery() as nursery:
        await nursery.start(listeners.run)
        inode = first.path.stat().st_ino
        (added,) = await listeners.add(second, tls=None)
        added.dup().close()
        assert first.path.stat().st_ino == inode
        listeners.remove(listeners.listeners[0])
        assert not first.path.exists()
        nursery.cancel_scope.cancel()
    assert not second.path.exists()
    async with trio.open_nursery() as nursery:
        assert await nursery.start(listeners.run) == (added,)
        added.dup().close()
        nursery.cancel_scope.cancel()


async def test_one_that_cannot_be_added_changes_nothing(tmp_path: Path) -> None:
    """It is not remembered either."""
    host = UnixHost(path=tmp_path / "a")
    async with opened(host) as listeners:
        with pytest.raises(ListenError):
            await listeners.add(UnixHost(path=tmp_path / "none" / "b"), tls=None)
        with pytest.raises(InvalidHostError):
            await listeners.add(FdHost(), tls=None)
        assert [listener.host for listener in listeners.listeners] == [host]
    with pytest.raises(Unavailable):
        await listeners.add(UnixHost(path=tmp_path / "b"), tls=None)


async def test_scoped_sockets_have_groups_of_their_own(tmp_path: Path) -> None:
    """They come and go and change hands without the others."""
    async with opened(UnixHost(path=tmp_path / "a")) as listeners:
        added = await listeners.add_scoped(UnixHost(path=tmp_path / "s"), OWN_GROUP)
        assert list(listeners.scoped) == [added]
        assert len(listeners.listeners) == 1
        if os.geteuid() == 0:
            listeners.set_group_of(added, "12345")
            assert (tmp_path / "s").stat().st_gid == 12345
            assert (tmp_path / "a").stat().st_gid != 12345
        with pytest.raises(ListenError, match="group nosuchgroup not found"):
            listeners.set_group_of(added, "nosuchgroup")
        listeners.remove(added)
        assert not list(listeners.scoped)
        assert not (tmp_path / "s").exists()


async def test_sockets_change_hands(tmp_path: Path) -> None:
    """To a group that is there; one that is not changes nothing."""
    async with opened(UnixHost(path=tmp_path / "a")) as listeners:
        if os.geteuid() == 0:
            listeners.set_group("12345")
            assert (tmp_path / "a").stat().st_gid == 12345
        before = (tmp_path / "a").stat().st_gid
        with pytest.raises(ListenError, match="group nosuchgroup not found"):
            listeners.set_group("nosuchgroup")
        assert (tmp_path / "a").stat().st_gid == before


def test_groups() -> None:
    """By name, by number, the daemon's own; a missing default group is only warned of."""
    assert group_id(OWN_GROUP) == os.getgid()
    assert group_id("12345") == 12345
    assert group_id("") == os.getgid()
    assert isinstance(group_id("docker"), int)
    with pytest.raises(ListenError, match="group nosuchgroup not found"):
        group_id("nosuchgroup")


def test_activation_is_read_from_the_environment() -> None:
    """Only what was meant for this process; selection by name, number, or all."""
    environ = {"LISTEN_PID": "7", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "api:metrics"}
    assert ActivatedSockets.from_environ(environ, pid=8) == ActivatedSockets()
    assert ActivatedSockets.from_environ({}, pid=7) == ActivatedSockets()
    activated = ActivatedSockets.from_environ(environ, pid=7)
    assert activated.names == ("api", "metrics", "")
    assert activated.select(FdHost()) == (3, 4, 5)
    assert activated.select(FdHost(name="metrics")) == (4,)
    assert activated.select(FdHost(name="5")) == (5,)
    for name in ("nope", "6", "2"):
        with pytest.raises(InvalidHostError):
            activated.select(FdHost(name=name))
    with pytest.raises(InvalidHostError, match="no sockets found via socket activation"):
        Listeners([FdHost()])


ACTIVATED_CHILD = """
import os, socket, sys, trio
from services.api.listening.hosts import FdHost
from services.api.listening.listeners import Listeners
from services.api.listening.systemd import ActivatedSockets

async def main():
    os.environ["LISTEN_PID"] = str(os.getpid())
    activated = ActivatedSockets.from_environ(os.environ, pid=os.getpid())
    listeners = Listeners([FdHost(name="api")], activated=activated)
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(listeners.run)
            assert not os.get_inheritable(4)
            copy = listener.dup()
            nursery.cancel_scope.cancel()
    connection, _ = copy.accept()
    connection.sendall(b"hello")

trio.run(main)
"""


def test_sockets_from_systemd(tmp_path: Path) -> None:
    """A process that gets its socket as descriptor 4, named api, serves on it, also restarted."""
    path = tmp_path / "activated.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()

        def pass_descriptors() -> None:
            os.dup2(sock.fileno(), 4)
            os.dup2(2, 3)

        child = subprocess.Popen(
            [sys.executable, "-c", ACTIVATED_CHILD],
            env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "err:api"},
            close_fds=False,
            preexec_fn=pass_descriptors,
        )
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(90)
            client.connect(str(path))
            assert client.recv(10) == b"hello"
        assert child.wait(60) == 0
        assert path.exists()  # systemd's, not ours to remove
