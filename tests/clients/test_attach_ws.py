"""Attaching over a websocket: the handshake, raw bytes both ways, the end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]

LIMIT_S = 60.0


class Client:
    """A websocket on the daemon's socket."""

    def __init__(self, daemon: Daemon, target: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(str(daemon.socket))
        self.ws = WSConnection(ConnectionType.CLIENT)
        self.send(Request(host="docker", target=target))

    def send(self, event: Event) -> None:
        self.socket.sendall(self.ws.send(event))

    def events(self) -> Iterator[Event]:
        """As they come, until the connection ends."""
        while True:
            yield from self.ws.events()
            data = self.socket.recv(65536)
            self.ws.receive_data(data or None)
            if not data:
                yield from self.ws.events()
                return

    def expect(self, text: bytes) -> list[type[Event]]:
        """Read until the messages together end with `text`; the kinds of events on the way."""
        seen, kinds = b"", []
        for event in self.events():
            kinds.append(type(event))
            if isinstance(event, Message):
                data = event.data
                seen += data.encode() if isinstance(data, str) else bytes(data)
            if seen.endswith(text):
                return kinds
        raise AssertionError(f"ended with {seen!r}, {kinds}")


@contextmanager
def attached(daemon: Daemon, name: str, query: str, version: str = "1.47") -> Iterator[Client]:
    """A client whose handshake was accepted."""
    client = Client(daemon, f"/v{version}/containers/{name}/attach/ws?{query}")
    with client.socket:
        assert isinstance(next(client.events()), AcceptConnection)
        yield client


def create(daemon: Daemon, *command: str, tty: bool = False) -> None:
    """A container `box` that can be typed to."""
    flags = ("-it",) if tty else ("-i",)
    daemon.docker("create", "--name", "box", *flags, "--network", "none", "busybox", *command)


EVERYTHING = "stream=1&stdin=1&stdout=1&stderr=1"


def test_bytes_both_ways(daemon: Daemon) -> None:
    """Without frames of docker's; a ping is answered; the process's end is a close."""
    create(daemon, "sh", "-c", "read a; echo got $a; read b; echo $b >&2")
    with attached(daemon, "box", EVERYTHING) as client:
        daemon.docker("start", "box")
        client.send(BytesMessage(b"one\n"))
        assert set(client.expect(b"got one\n")) == {BytesMessage}
        client.send(Ping(b"x"))
        client.send(TextMessage("two\n"))
        assert Pong in client.expect(b"two\n")
        assert isinstance(next(client.events()), CloseConnection)


def test_text_for_old_clients_and_the_log(daemon: Daemon) -> None:
    """Before 1.28 messages were text; `logs` sends what was said before."""
    create(daemon, "sh", "-c", "echo before; read a", tty=True)
    with attached(daemon, "box", EVERYTHING, version="1.27") as client:
        daemon.docker("start", "box")
        assert TextMessage in client.expect(b"before\r\n")
    with attached(daemon, "box", f"logs=1&{EVERYTHING}") as client:
        assert client.expect(b"before\r\n") == [BytesMessage]
        client.send(BytesMessage(b"\x10\x11"))
        assert CloseConnection in [type(event) for event in client.events()]
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "box").text == "running"


def test_refusals(daemon: Daemon) -> None:
    """An unknown container, a request that asks for no websocket, one that breaks off."""
    client = Client(daemon, "/containers/nosuch/attach/ws")
    with client.socket:
        rejected = next(client.events())
        assert isinstance(rejected, RejectConnection)
        assert rejected.status_code == 404
    create(daemon, "sleep", "1000")
    answer = daemon.http("GET", "/containers/box/attach/ws")
    assert (answer.status, answer.message) == (400, "not websocket protocol")
    daemon.docker("start", "box")
    with attached(daemon, "box", EVERYTHING) as client:
        client.socket.sendall(b"\xff\xff\xff")
        assert list(client.events())
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "box").text == "running"
