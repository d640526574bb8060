"""Where the API listens: the addresses that `--host` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

DEFAULT_SOCKET: Final = "/var/run/docker.sock"  # where Docker's clients look when told nothing
PLAIN_PORT: Final = 2375
TLS_PORT: Final = 2376

Scheme = Literal["unix", "tcp", "fd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress:
    """One place to listen."""

    scheme: Scheme
    address: str  # unix: a path; tcp: a host name or address; fd: what follows fd:// (a name or *)
    port: int = 0  # tcp only

    def __str__(self) -> str:
        if self.scheme != "tcp":
            return f"{self.scheme}://{self.address}"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"tcp://{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return (
            self.scheme != "tcp"
            or self.address in {"localhost", "::1"}
            or (self.address.startswith("127."))
        )


def parse_host(text: str, *, tls: bool = False) -> HostAddress:
    """dockerd's `-H`: `unix://path`, `tcp://host:port`, `fd://[name]`, `host:port`, or empty.

    What is left out is filled in: the default socket, `localhost`, port 2375 or with TLS 2376. The
    empty text is the default socket, with TLS the default TCP address.

    Raises:
        ValueError: with dockerd's sentence.
    """
    text = text.strip()
    if not text:
        text = "tcp://" if tls else "unix://"
    scheme, separator, address = text.partition("://")
    if not separator:
        scheme, address = "tcp", text
    match scheme:
        case "unix":
            return HostAddress(scheme="unix", address=_path(address, text))
        case "fd":
            return HostAddress(scheme="fd", address=address or "*")
        case "tcp":
            return _parse_tcp(address, text, TLS_PORT if tls else PLAIN_PORT)
    raise ValueError(f"invalid bind address ({text}): unsupported proto '{scheme}'")


def _path(address: str, text: str) -> str:
    if "://" in address:
        raise ValueError(f"invalid bind address ({text}): invalid unix address: {address}")
    return address or DEFAULT_SOCKET


def _parse_tcp(address: str, text: str, default_port: int) -> HostAddress:
    if "/" in address.rstrip("/") or "@" in address:
        raise ValueError(f"invalid bind address ({text}): should not contain a path element")
    address = address.rstrip("/")
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"invalid bind address ({text}): missing ']' in address")
        port_text = rest[1:]
    else:
        host, _, port_text = address.partition(":")
        if ":" in port_text:
            raise ValueError(f"invalid bind address ({text}): too many colons in address")
    if port_text and (not port_text.isdecimal() or not 0 <= int(port_text) <= 65535):
        raise ValueError(f"invalid bind address ({text}): invalid port: {port_text}")
    port = int(port_text) if port_text else default_port
    return HostAddress(scheme="tcp", address=host or "localhost", port=port)
