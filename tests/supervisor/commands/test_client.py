"""supervisor.commands.client: the way from the terminal to the engine."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.api.listening.hosts import TcpHost, UnixHost
from supervisor.commands.client import Address, Client, ClientError, Refused
from tests.support.certificates import make_certificates

ENGINE = {"DOCKER_CERT_PATH": "/certs"}


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked; /refuse with an error of the engine's, /lines with lines."""

    def _answer(self) -> None:
        if self.path.endswith("/cut"):
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half\n")
            return
        refused = self.path.endswith("/refuse")
        if self.path.endswith("/lines"):
            body = b"one\ntwo\r\n"
        elif self.path.endswith("/text"):
            body = b"no JSON"
        elif refused:
            body = b'{"message": "not now"}'
        else:
            body = json.dumps([self.command, self.path]).encode()
        self.send_response(409 if refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815  (the handler's names)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def address_string(self) -> str:
        return "client"


class _UnixServer(http.server.HTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)


@contextmanager
def engine_at(server: http.server.HTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = tmp_path_factory.mktemp("client") / "s"
    with engine_at(_UnixServer(str(path), Engine)):  # type: ignore[arg-type]  # typed for TCP
        yield Client(Address.from_environment({"DOCKER_HOST": f"unix://{path}"}))


def test_questions_go_below_the_prefix(client: Client) -> None:
    """With their method and their query; the answer is decoded."""
    assert client.get("/tree") == ["GET", "/wharfinger/v1/tree"]
    asked = client.post("/reload", **{"dry-run": "1"})
    assert asked == ["POST", "/wharfinger/v1/reload?dry-run=1"]


def test_a_refusal_has_the_engines_words(client: Client) -> None:
    """And its status, for a command that can do something about one."""
    with pytest.raises(Refused, match="not now") as refused:
        client.get("/refuse")
    assert refused.value.status == 409


def test_what_is_no_engine_is_told(client: Client) -> None:
    """An answer that is no JSON, or that breaks off."""
    with pytest.raises(ClientError, match="does not answer as Wharfinger"):
        client.get("/text")
    with pytest.raises(ClientError, match="broke off"):
        client.get("/cut")


def test_lines_of_a_stream(client: Client) -> None:
    """One by one, without their ends."""
    with client.stream("/lines") as lines:
        assert list(lines) == [b"one", b"two"]


def test_nobody_there(tmp_path: Path) -> None:
    """One sentence that names the address."""
    client = Client(Address.from_environment({}, f"unix://{tmp_path}/none"))
    with pytest.raises(ClientError, match=f"cannot connect to unix://{tmp_path}/none: No such"):
        client.get("/tree")


@pytest.mark.parametrize(
    ("environment", "host", "address"),
    [
        ({}, "", Address(host=UnixHost(path=Path("/var/run/docker.sock")))),
        ({"DOCKER_HOST": "unix:///a"}, "", Address(host=UnixHost(path=Path("/a")))),
        ({"DOCKER_HOST": "unix:///a"}, "unix:///b", Address(host=UnixHost(path=Path("/b")))),
        ({"DOCKER_HOST": "tcp://x"}, "", Address(host=TcpHost(host="x", port=2375))),
        (
            {"DOCKER_HOST": "tcp://x", "DOCKER_TLS_VERIFY": "1", **ENGINE},
            "",
            Address(host=TcpHost(host="x", port=2376), certificates=Path("/certs")),
        ),
        (
            {"DOCKER_HOST": "tcp://x:1", "DOCKER_TLS": "1", **ENGINE},
            "",
            Address(host=TcpHost(host="x", port=1), certificates=Path("/certs"), verify=False),
        ),
    ],
)
def test_the_address_is_found_as_the_docker_cli_finds_it(
    environment: dict[str, str], host: str, address: Address
) -> None:
    """The flag, then DOCKER_HOST, then the default; TLS by the CLI's variables."""
    assert Address.from_environment(environment, host) == address


@pytest.mark.parametrize("host", ["ftp://x", "fd://", "tcp://a:b"])
def test_an_address_that_is_none_is_told(host: str) -> None:
    """As one sentence, before anything is tried."""
    with pytest.raises(ClientError, match="unable to"):
        Address.from_environment({"DOCKER_HOST": host})


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    """The engine sees the client's, the client checks the engine's."""
    make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server-cert.pem", tmp_path / "server-key.pem")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = http.server.HTTPServer(("127.0.0.1", 0), Engine)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    folder = tmp_path / "certs"
    folder.mkdir()
    environment = {
        "DOCKER_HOST": f"tcp://127.0.0.1:{server.server_address[1]}",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(folder),
    }
    with engine_at(server):
        client = Client(Address.from_environment(environment))
        for name, file in (("ca", "ca"), ("cert", "client-cert"), ("key", "client-key")):
            (folder / f"{name}.pem").write_bytes((tmp_path / f"{file}.pem").read_bytes())
        assert client.get("/tree") == ["GET", "/wharfinger/v1/tree"]
        (folder / "ca.pem").write_bytes((tmp_path / "other.pem").read_bytes())
        with pytest.raises(ClientError, match="CERTIFICATE_VERIFY_FAILED"):
            client.get("/tree")
