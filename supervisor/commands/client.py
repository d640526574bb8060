"""Speaks to a running engine from the terminal, as the docker CLI would: DOCKER_HOST and its TLS.

Blocking and of the standard library alone: a command is one process for one question. Nothing that
the daemon imports comes here.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from services.api.listening.hosts import InvalidHostError, TcpHost, UnixHost, parse_host

CONNECT_S: Final = 5.0
ANSWER_S: Final = 120.0
PREFIX: Final = "/wharfinger/v1"
"""Before every path of the engine's own API."""


class ClientError(Exception):
    """The engine cannot be asked, or has refused; the text is for the person at the terminal."""


class Refused(ClientError):
    """The engine answered with an error: `status` is HTTP's, the text the engine's own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the engine listens. `certificates` is a folder with ca.pem, cert.pem and key.pem."""

    host: UnixHost | TcpHost
    certificates: Path | None = None  # None: without TLS
    verify: bool = True  # with TLS: whether the engine's certificate must be of the CA

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], host: str = "") -> Address:
        """As `host` says, else DOCKER_HOST, else the default socket; TLS as the docker CLI has it.

        Source: docker CLI, cli/flags: DOCKER_TLS, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH.

        Raises:
            ClientError: the address is none that the engine listens on.
        """
        verify = bool(environment.get("DOCKER_TLS_VERIFY"))
        text = host or environment.get("DOCKER_HOST", "")
        try:
            parsed = parse_host(text or "unix://", tls=verify)
        except InvalidHostError as error:
            raise ClientError(f"unable to parse docker host `{text}`: {error}") from error
        if not isinstance(parsed, UnixHost | TcpHost):
            raise ClientError(f"unable to connect to `{text}`: use unix:// or tcp://")
        if isinstance(parsed, UnixHost) or not (verify or environment.get("DOCKER_TLS")):
            return cls(host=parsed)
        home = Path(environment.get("HOME", "/root"))
        folder = (
            environment.get("DOCKER_CERT_PATH")
            or environment.get("DOCKER_CONFIG")
            or home / ".docker"
        )
        return cls(host=parsed, certificates=Path(folder), verify=verify)


class Client:
    """Asks one engine. Each question has a connection of its own."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def get(self, path: str, **query: str) -> Any:
        """The JSON that a GET below `PREFIX` answers with. Raises ClientError."""
        return self._ask("GET", path, query)

    def post(self, path: str, **query: str) -> Any:
        """As `get`, for a POST; None for an empty answer."""
        return self._ask("POST", path, query)

    @contextmanager
    def stream(self, path: str, **query: str) -> Iterator[Iterator[bytes]]:
        """The lines of an endless GET below `PREFIX`, without their ends, as they come.

        The lines end when the engine ends the answer, and raise ClientError when it breaks.
        """
        with self._open(None) as connection:
            answer = self._send(connection, "GET", path, query)
            yield _lines(answer)

    def _ask(self, method: str, path: str, query: Mapping[str, str]) -> Any:
        with self._open(ANSWER_S) as connection:
            answer = self._send(connection, method, path, query)
            try:
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise ClientError(f"the engine's answer broke off: {error}") from error
        try:
            return json.loads(body) if body else None
        except ValueError as error:
            raise ClientError(f"{self._address.host} does not answer as Wharfinger") from error

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        target = PREFIX + path + (f"?{urlencode(query)}" if query else "")
        try:
            # A POST without a body says so: some proxies want a length. The field tells the engine
            # that no page in a browser sends it.
            body, headers = (b"", {"X-Wharfinger": "cli"}) if method == "POST" else (None, {})
            connection.request(method, target, body=body, headers=headers)
            answer = connection.getresponse()
            if answer.status < 400:
                return answer
            raise Refused(answer.status, _message_of(answer.status, answer.read()))
        except (OSError, http.client.HTTPException) as error:
            text = str(error) or type(error).__name__
            raise ClientError(f"the engine at {self._address.host} does not answer: {text}") from (
                error
            )

    @contextmanager
    def _open(self, answer_s: float | None) -> Iterator[http.client.HTTPConnection]:
        try:
            connection = _Connection(_connect(self._address))
        except OSError as error:
            reason = error.strerror or str(error)
            raise ClientError(f"cannot connect to {self._address.host}: {reason}") from error
        try:
            connection.sock.settimeout(answer_s)
            yield connection
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket that is connected already."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__("wharfinger")
        self.sock: socket.socket = sock


def _connect(address: Address) -> socket.socket:
    host = address.host
    if isinstance(host, UnixHost):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(CONNECT_S)
            sock.connect(str(host.path))
        except OSError:
            sock.close()
            raise
        return sock
    sock = socket.create_connection((host.host, host.port), CONNECT_S)
    if address.certificates is None:
        return sock
    try:
        context = _context(address.certificates, verify=address.verify)
        return context.wrap_socket(sock, server_hostname=host.host)
    except OSError:
        sock.close()
        raise


def _context(folder: Path, *, verify: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = verify
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if verify:
        context.load_verify_locations(folder / "ca.pem")
    if (folder / "cert.pem").exists():
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def _message_of(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"the engine answered with status {status}"


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            line = answer.readline()
        except (OSError, http.client.HTTPException) as error:
            raise ClientError(f"the engine's answer broke off: {error}") from error
        if not line:
            return
        yield line.rstrip(b"\r\n")
