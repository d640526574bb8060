"""HTTP/2 and websockets: hypercorn's, after our server has recognised them."""

from __future__ import annotations

from pathlib import Path

import h2.config
import h2.connection
import h2.events
import trio
import wsproto
import wsproto.events
from quart import Blueprint, websocket

from services.api.http.asgi import ASGIApp
from services.api.wire.responses import HijackResponse
from tests.services.api.http.test_hijack import echo
from tests.services.api.listening.test_tls import certificates, client_side, server_side
from tests.services.api.support import ENGINE, TcpListener, build_app, get, running, serving

__all__ = ["certificates"]


def app() -> ASGIApp:
    blueprint = Blueprint("test", __name__)

    @blueprint.websocket("/ws")
    async def _ws() -> None:
        while True:
            await websocket.send(await websocket.receive())

    @blueprint.get("/hello")
    async def _hello() -> str:
        return "hello"

    @blueprint.post("/attach")
    async def _attach() -> HijackResponse:
        return HijackResponse(echo)

    return build_app([blueprint], identity=ENGINE)


async def h2_get(stream: trio.abc.Stream, path: str, method: str = "GET") -> tuple[str, bytes]:
    """One request over HTTP/2; status and body."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    fields = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "d")]
    connection.send_headers(1, fields, end_stream=True)
    await stream.send_all(connection.data_to_send())
    status, body = "", b""
    while True:
        data = await stream.receive_some(65536)
        assert data
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                status = next(str(value) for name, value in event.headers if str(name) == ":status")
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, h2.events.StreamEnded):
                return status, body
        await stream.send_all(connection.data_to_send())


async def test_http2_with_prior_knowledge(tmp_path: Path) -> None:
    """A preface on a plain connection gets HTTP/2; what needs the raw connection says so there."""
    async with serving(app(), tmp_path) as served:
        stream = (await served.connect()).stream
        assert await h2_get(stream, "/v1.44/hello") == ("200", b"hello")
        await stream.aclose()
        stream = (await served.connect()).stream
        assert await h2_get(stream, "/_ping") == ("200", b"OK")
        await stream.aclose()
        stream = (await served.connect()).stream
        assert (await h2_get(stream, "/attach", "POST"))[0] == "501"
        await stream.aclose()


async def test_http2_by_alpn(certificates: Path) -> None:
    """A TLS client that offers h2 gets it."""
    listener = TcpListener(server_side(certificates, verify=False))
    context = client_side(certificates)
    context.set_alpn_protocols(["h2"])
    async with running(app(), listener):
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", listener.port, ssl_context=context, https_compatible=True
        )
        assert await h2_get(stream, "/hello") == ("200", b"hello")
        await trio.aclose_forcefully(stream)
    listener.close()


async def test_websockets(tmp_path: Path) -> None:
    """A websocket is accepted on a connection that served HTTP/1.1 before, and echoes."""
    async with serving(app(), tmp_path) as served:
        client = await served.connect()
        await client.send(get("/hello"))
        assert await client.answer() == (200, b"hello")
        peer = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        await client.send(peer.send(wsproto.events.Request(host="d", target="/v1.44/ws")))
        peer.receive_data(await client.until(b"\r\n\r\n"))
        assert isinstance(next(peer.events()), wsproto.events.AcceptConnection)
        await client.send(peer.send(wsproto.events.BytesMessage(b"abc")))
        while True:
            peer.receive_data(bytes(await client.stream.receive_some(4096)))
            messages = [e for e in peer.events() if isinstance(e, wsproto.events.Message)]
            if messages:
                assert messages[0].data == b"abc"
                break
        await client.stream.aclose()


async def test_a_refused_websocket_ends_its_connection(tmp_path: Path) -> None:
    """hypercorn does not go on to serve HTTP/1.1 on a connection that was handed to it."""
    request = get(
        "/nope",
        extra="Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    )
    async with serving(app(), tmp_path) as served:
        answer = await served.ask(request)
    assert answer.startswith(b"HTTP/1.1 4")


async def test_a_drain_ends_idle_http2_connections(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """An idle HTTP/2 connection does not hold up the end of the server."""
    async with serving(app(), tmp_path) as served:
        stream = (await served.connect()).stream
        assert await h2_get(stream, "/hello") == ("200", b"hello")
        before = trio.current_time()
        served.stop.event.set()
        await served.ended.wait()
        assert trio.current_time() - before < 1
