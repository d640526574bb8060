"""Addresses of log servers: text to a value. No I/O but for a look at a socket's file.

Source: moby, daemon/logger (each driver's parseAddress), and Go's net.SplitHostPort.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

SCHEMES: Final = ("tcp", "tcp+tls", "tls", "udp", "unix", "unixgram")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`scheme` is one of SCHEMES; a socket file has a `path`, the others host and port."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{self.path or f'{host}:{self.port}'}"

    @property
    def is_datagram(self) -> bool:
        """Whether messages are packets."""
        return self.scheme in ("udp", "unixgram")


def is_transport_url(text: str) -> bool:
    """Whether an address names its transport."""
    return text.startswith(("tcp://", "tcp+tls://", "udp://", "unix://", "unixgram://"))


def split_host_port(text: str) -> tuple[str, str | None]:
    """Host and port; the port is None where there is none.

    Raises:
        ValueError: in Go's words.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise ValueError(f"address {text}: missing ']' in address")
        if rest and not rest.startswith(":"):
            raise ValueError(f"address {text}: missing port in address")
        return host, rest[1:] if rest else None
    host, colon, port = text.partition(":")
    if ":" in port:
        raise ValueError(f"address {text}: too many colons in address")
    return host, port if colon else None


def parse_port(text: str) -> int:
    """A port's number.

    Raises:
        ValueError: it is none, in Go's words.
    """
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) > 65535:
        raise ValueError(f"invalid port {text}")
    return int(text)


def host_of(url: str) -> str:
    """The host and port of a URL, as written; without user and password.

    Raises:
        ValueError: a port that is no number, in the words of Go's net/url.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    _, colon, port = host.rpartition("]")[2].rpartition(":")
    if colon and port and not (port.isascii() and port.isdigit()):
        raise ValueError(f'parse "{url}": invalid port ":{port}" after host')
    return host


def path_of(url: str) -> str:
    """The path of a URL."""
    return urlsplit(url).path


def require_socket_file(path: str) -> None:
    """dockerd looks whether a socket's file is there before it takes its name.

    Raises:
        ValueError: it is not, in Go's words.
    """
    if not Path(path).exists():
        raise ValueError(f"stat {path}: no such file or directory")
