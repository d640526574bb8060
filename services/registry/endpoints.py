"""Where a registry's API may be found: its mirrors, then itself, with TLS or without.

Source: moby, daemon/pkg/registry/service_v2.go: the same names lead to the same addresses.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import trio

from .addresses import require_host
from .settings import OFFICIAL, RegistrySettings

OFFICIAL_HOST = "registry-1.docker.io"
INDEX_HOST = "index.docker.io"
_RESOLVE_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address of a registry. `url` has no slash at its end; /v2/ comes after it."""

    url: str
    host: str  # HOST[:PORT], the name of its folder of certificates
    verify: bool = True  # whether its certificate must be good
    is_mirror: bool = False


class Endpoints:
    """Looks endpoints up by a registry's name."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings

    async def of(self, domain: str, *, mirrors: bool) -> tuple[Endpoint, ...]:
        """The endpoints of the registry `domain` of a reference, the one to try first at first.

        With `mirrors`, for reading only, those of docker.io go before it.

        Raises:
            InvalidParameter: `domain` is no name of a host.
        """
        if domain != OFFICIAL:
            return await self._both(domain)
        found = [await self._mirror(url) for url in self._settings.mirrors] if mirrors else []
        return (*found, Endpoint(url=f"https://{OFFICIAL_HOST}", host=OFFICIAL_HOST))

    async def index(self, domain: str) -> tuple[Endpoint, ...]:
        """Where a search is answered. Raises as `of`."""
        if domain == OFFICIAL:
            return (Endpoint(url=f"https://{INDEX_HOST}", host=INDEX_HOST),)
        return await self._both(domain)

    async def is_insecure(self, host: str) -> bool:
        """Whether plain HTTP and bad certificates are accepted of HOST[:PORT].

        By name, or by an address of it that lies in one of the networks.
        """
        if host in self._settings.insecure_hosts:
            return True
        name = urlsplit(f"//{host}").hostname or ""
        addresses = await _addresses(name)
        networks = self._settings.insecure_networks
        return any(address in network for address in addresses for network in networks)

    async def _both(self, host: str) -> tuple[Endpoint, ...]:
        """HTTPS, and HTTP after it where that is allowed."""
        require_host(host)
        if not await self.is_insecure(host):
            return (Endpoint(url=f"https://{host}", host=host),)
        return (
            Endpoint(url=f"https://{host}", host=host, verify=False),
            Endpoint(url=f"http://{host}", host=host, verify=False),
        )

    async def _mirror(self, url: str) -> Endpoint:
        host = urlsplit(url).netloc
        verify = not await self.is_insecure(host)
        return Endpoint(url=url.rstrip("/"), host=host, verify=verify, is_mirror=True)


async def _addresses(name: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of a name; none when it has none: then nobody can say that it is insecure."""
    try:
        return [ipaddress.ip_address(name)]
    except ValueError:
        pass
    with trio.move_on_after(_RESOLVE_LIMIT_S):
        try:
            found = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return []
        return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return []
