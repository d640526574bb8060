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
    """Read one `--host`. Without a scheme it is TCP; what is left out is dockerd's default.

    Raises:
        InvalidHostError: no such scheme, or an address that is none.
    """
    text = text.strip()
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "tcp", text
    match scheme:
        case "unix":
            return UnixHost(path=Path(rest or DEFAULT_UNIX_PATH))
        case "tcp":
            return _parse_tcp(text, rest, TLS_PORT if tls else PLAIN_PORT)
        case "fd":
            return FdHost(name="" if rest == "*" else rest)
    raise InvalidHostError(f"invalid bind address format: {text}")


def _parse_tcp(text: str, rest: str, default_port: int) -> TcpHost:
    address = rest.rstrip("/")
    if "/" in address:
        raise InvalidHostError(f"invalid bind address ({text}): should not contain a path element")
    if address.startswith("["):
        host, closed, tail = address[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")):
            raise InvalidHostError(f"invalid bind address ({text})")
        port = tail[1:]
    elif address.count(":") > 1:
        raise InvalidHostError(f"invalid bind address ({text}): too many colons in address")
    else:
        host, _, port = address.partition(":")
    if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise InvalidHostError(f"invalid bind address ({text}): invalid port {port}")
    return TcpHost(host=host or DEFAULT_TCP_HOST, port=int(port) if port else default_port)
