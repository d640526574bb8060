"""What the engine's configuration says about registries, checked. Light: the daemon imports it.

Source: moby, daemon/pkg/registry/config.go, whose sentences these are.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from .proxies import ProxySettings

CERTS_DIR: Final = Path("/etc/docker/certs.d")
OFFICIAL: Final = "docker.io"
ALWAYS_INSECURE: Final = (
    ipaddress.ip_network("::1/128"),
    ipaddress.ip_network("127.0.0.0/8"),
)
_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """How registries are reached. `mirrors` are of docker.io and end in a slash."""

    mirrors: tuple[str, ...] = ()
    insecure_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ALWAYS_INSECURE
    insecure_hosts: frozenset[str] = frozenset()  # HOST[:PORT], as in references
    max_downloads: int = 3
    max_uploads: int = 5
    max_attempts: int = 5  # at one download or upload
    proxies: ProxySettings = field(default_factory=ProxySettings)
    # Of these the first that has a folder for a registry says which certificates are for it.
    certs_dirs: tuple[Path, ...] = (CERTS_DIR,)


def parse_mirror(text: str) -> str:
    """A mirror's URL, with a slash at its end.

    Raises:
        ValueError: it cannot be one.
    """
    try:
        parts = urlsplit(text)
        valid = bool(parts.netloc) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f'invalid mirror: "{text}" is not a valid URI')
    if parts.scheme not in ("http", "https"):
        raise ValueError(f'invalid mirror: unsupported scheme "{parts.scheme}" in "{text}"')
    if parts.query or parts.fragment:
        raise ValueError(f'invalid mirror: query or fragment at end of the URI "{text}"')
    if parts.username is not None:
        raise ValueError(f'invalid mirror: username/password not allowed in URI "{text}"')
    return text.rstrip("/") + "/"


def parse_insecure(
    texts: tuple[str, ...],
) -> tuple[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], frozenset[str]]:
    """What --insecure-registry names: networks, dockerd's own among them, and hosts.

    Raises:
        ValueError: one is neither.
    """
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    hosts: set[str] = set()
    for text in texts:
        for scheme in ("http://", "https://"):  # dockerd takes these two away
            text = text.removeprefix(scheme) if text.lower().startswith(scheme) else text
        if "://" in text:
            raise ValueError(f"insecure registry {text} should not contain '://'")
        if "/" in text:
            try:
                networks.append(ipaddress.ip_network(text, strict=False))
            except ValueError as error:
                raise ValueError(f"insecure registry {text} is not valid: {error}") from error
        else:
            hosts.add(_host_port(text))
    return (*networks, *ALWAYS_INSECURE), frozenset(hosts)


def _host_port(text: str) -> str:
    name, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        name, port = text, ""
    if colon and not text.endswith("]") and not (port.isdecimal() and int(port) < 65536):
        raise ValueError(f'insecure registry {text} is not valid: invalid port "{port}"')
    if not _HOST.fullmatch(name):
        raise ValueError(f'insecure registry {text} is not valid: invalid host "{text}"')
    return text
