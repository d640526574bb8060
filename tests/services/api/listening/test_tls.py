"""TLS and client certificates, with certificates that openssl makes on the spot."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
import trio

from services.api.listening.tls import TLSConfig, TLSError, server_context
from services.api.wire.request import current_request
from services.api.wire.responses import HijackResponse
from services.system.tls import client_context
from tests.services.api.http.test_hijack import echo, post
from tests.services.api.support import Client, TcpListener, echo_app, get, routes, running
from tests.support.certificates import make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `make_certificates`."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def server_side(certificates: Path, *, verify: bool) -> ssl.SSLContext:
    return server_context(
        TLSConfig(
            cert=certificates / "server-cert.pem",
            key=certificates / "server-key.pem",
            ca_cert=certificates / "ca.pem",
            verify=verify,
        )
    )


def client_side(certificates: Path, name: str | None = None) -> ssl.SSLContext:
    context = client_context(str(certificates / "ca.pem"))
    if name is not None:
        context.load_cert_chain(certificates / f"{name}-cert.pem", certificates / f"{name}-key.pem")
    return context


async def dial(listener: TcpListener, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    stream = await trio.open_ssl_over_tcp_stream(
        "127.0.0.1", listener.port, ssl_context=context, https_compatible=True
    )
    await stream.do_handshake()
    return stream


async def test_requests_over_tls(certificates: Path) -> None:
    """Keep-alive, bodies and a large answer work over TLS as over a plain socket."""
    listener = TcpListener(server_side(certificates, verify=False))
    async with running(echo_app, listener):
        client = Client(await dial(listener, client_side(certificates)))  # type: ignore[arg-type]
        for size in (0, 10, 500_000):
            body = b"x" * size
            await client.send(post(b"/a", extra=b"", body=body))
            assert await client.answer() == (200, b"POST /a %d %b" % (size, body))
    listener.close()


async def test_tlsverify_takes_only_certificates_of_its_ca(certificates: Path) -> None:
    """No certificate and a stranger's are refused; the CA's client is known to handlers."""

    async def view() -> str:
        connection = current_request().connection
        assert connection is not None
        return json.dumps(connection.peercert())

    listener = TcpListener(server_side(certificates, verify=True))
    async with running(routes(("GET", "/", view)), listener):
        for name in (None, "stranger"):
            with pytest.raises(trio.BrokenResourceError):  # TLS 1.3 tells at the first read
                stream = await dial(listener, client_side(certificates, name))
                await stream.send_all(get())
                assert await stream.receive_some(1) == b""
                raise trio.BrokenResourceError
        client = Client(await dial(listener, client_side(certificates, "client")))  # type: ignore[arg-type]
        await client.send(get())
        status, body = await client.answer()
        assert status == 200
        assert ["commonName", "client"] in json.loads(body)["subject"][0]
    listener.close()


async def test_a_hijack_over_tls(certificates: Path) -> None:
    """attach works over TLS: bytes both ways, and the end of the stream reaches the client."""

    async def view() -> HijackResponse:
        return HijackResponse(echo)

    listener = TcpListener(server_side(certificates, verify=False))
    async with running(routes(("POST", "/attach", view)), listener):
        stream = await dial(listener, client_side(certificates))
        await stream.send_all(post(b"/attach"))
        client = Client(stream)  # type: ignore[arg-type]
        await client.until(b"\r\n\r\n")
        await client.send(b"ping")
        assert await client.until(b"ping") == b"ping"
        await stream.aclose()
    listener.close()


async def test_plain_http_to_a_tls_port_is_told_so(certificates: Path) -> None:
    """As in Go: a readable answer instead of TLS noise; other noise is dropped."""
    listener = TcpListener(server_side(certificates, verify=False))
    async with running(echo_app, listener):
        client = Client(await trio.open_tcp_stream("127.0.0.1", listener.port))
        await client.send(get())
        assert b"Client sent an HTTP request to an HTTPS server." in await client.rest()
        client = Client(await trio.open_tcp_stream("127.0.0.1", listener.port))
        await client.send(b"\x00" * 100)
        with pytest.raises((trio.BrokenResourceError, EOFError)):
            await client.until(b"never")
    listener.close()


async def test_old_tls_is_refused(certificates: Path) -> None:
    """Nothing below TLS 1.2."""
    assert server_side(certificates, verify=False).minimum_version is ssl.TLSVersion.TLSv1_2


def test_unusable_files_are_named(certificates: Path, tmp_path: Path) -> None:
    """A missing or wrong file is an error at start that names it."""
    good = {"cert": certificates / "server-cert.pem", "key": certificates / "server-key.pem"}
    with pytest.raises(TLSError, match="could not load X509 key pair"):
        server_context(TLSConfig(cert=tmp_path / "no", key=good["key"]))
    with pytest.raises(TLSError, match="could not load X509 key pair"):
        server_context(TLSConfig(cert=good["cert"], key=certificates / "client-key.pem"))
    with pytest.raises(TLSError, match="could not read CA certificate"):
        server_context(TLSConfig(**good, ca_cert=tmp_path / "no", verify=True))
    with pytest.raises(TLSError, match="tlscacert"):
        server_context(TLSConfig(**good, verify=True))


async def test_a_renewed_certificate_is_for_new_connections(
    certificates: Path, tmp_path: Path
) -> None:
    """Who is connected goes on with what it has; nobody is refused meanwhile."""
    make_certificates(tmp_path)
    listener = TcpListener(server_side(certificates, verify=False))
    async with running(echo_app, listener):
        before = Client(await dial(listener, client_side(certificates)))  # type: ignore[arg-type]
        await before.send(get("/a"))
        assert (await before.answer())[0] == 200
        listener.tls = server_side(tmp_path, verify=False)
        with pytest.raises(trio.BrokenResourceError):
            await dial(listener, client_side(certificates))
        after = Client(await dial(listener, client_side(tmp_path)))  # type: ignore[arg-type]
        for client in (before, after):
            await client.send(get("/b"))
            assert (await client.answer())[0] == 200
        listener.tls = None
        plain = await trio.open_tcp_stream("127.0.0.1", listener.port)
        await plain.send_all(get("/c", close=True))
        assert b"200 OK" in await plain.receive_some(65536)
    listener.close()
