"""What `--host` means: text to the address of one listener. No I/O.

Source: dockerd's opts.ParseHost and its listeners.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_UNIX_PATH: Final = "/var/run/docker.sock"
DEFAULT_TCP_HOST: Final = "localhost"
PLAIN_PORT: Final = 2375
TLS_PORT: Final = 2376


class InvalidHostError(ValueError):
    """A `--host` that names no listener; the text is dockerd's where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixHost:
    """A socket file."""

    path: Path

    def __str__(self) -> str:
        return f"unix://{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpHost:
    """An address and a port; port 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FdHost:
    """Sockets handed over by systemd: one by its name or number, or all of them for ""."""

    name: str = ""

    def __str__(self) -> str:
        return f"fd://{self.name}"


Host = UnixHost | TcpHost | FdHost


def parse_host(text: str, *, tls: bool = False) -> Host:
    """dockerd's `-H`: `unix://path`, `tcp://host:port`, `fd://[name]`, `host:port`, or empty.

    What is left out is filled in: the default socket, `localhost`, port 2375 or with TLS 2376. The
    empty text is the default socket, with TLS the default TCP address.

    Raises:
        InvalidHostError: with dockerd's sentence.
    """
    text = text.strip() or ("tcp://" if tls else "unix://")
    scheme, found, address = text.partition("://")
    if not found:
        scheme, address = "tcp", text
    match scheme:
        case "unix":
            return UnixHost(path=_unix_path(address, text))
        case "tcp":
            return _parse_tcp(address, text, TLS_PORT if tls else PLAIN_PORT)
        case "fd":
            return FdHost(name="" if address == "*" else address)
    raise InvalidHostError(f"invalid bind address ({text}): unsupported proto '{scheme}'")


def _unix_path(address: str, text: str) -> Path:
    if "://" in address:
        raise InvalidHostError(f"invalid bind address ({text}): invalid unix address: {address}")
    return Path(address or DEFAULT_UNIX_PATH)


def _parse_tcp(address: str, text: str, default_port: int) -> TcpHost:
    if "/" in address.rstrip("/") or "@" in address:
        raise InvalidHostError(f"invalid bind address ({text}): should not contain a path element")
    address = address.rstrip("/")
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidHostError(f"invalid bind address ({text}): missing ']' in address")
        port = rest[1:]
    else:
        host, _, port = address.partition(":")
        if ":" in port:
            raise InvalidHostError(f"invalid bind address ({text}): too many colons in address")
    if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise InvalidHostError(f"invalid bind address ({text}): invalid port: {port}")
    return TcpHost(host=host or DEFAULT_TCP_HOST, port=int(port) if port else default_port)
