"""Which proxy a request goes through: the rules of Go's net/http, which dockerd has them from.

Source: golang.org/x/net/http/httpproxy. Loopback is never proxied.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """URLs of proxies, empty for none; `no_proxy` is a list with commas of hosts to go to directly:
    names (with what is below them), ".names" (only what is below), addresses, networks, "*"."""

    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""

    def proxy_for(self, url: str) -> str | None:
        """The proxy's URL for a request to `url`; None to connect directly."""
        parts = urlsplit(url)
        proxy = self.https_proxy if parts.scheme == "https" else self.http_proxy
        host = (parts.hostname or "").rstrip(".")
        if not proxy or not host or self._is_direct(host, parts.port or _PORTS[parts.scheme]):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    def _is_direct(self, host: str, port: int) -> bool:
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        for entry in self.no_proxy.lower().split(","):
            entry = entry.strip()
            if entry == "*" or (entry and _matches(entry, host.lower(), port, address)):
                return True
        return False


def masked(url: str) -> str:
    """A proxy's URL without its credentials, as `docker info` shows it."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
    except ValueError:
        return url
    if "@" not in parts.netloc:
        return url
    return url.replace(parts.netloc, f"xxxxx:xxxxx@{parts.netloc.rpartition('@')[2]}", 1)


def _matches(
    entry: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
) -> bool:
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    entry, wanted_port = _split_port(entry)
    if wanted_port is not None and wanted_port != port:
        return False
    if (literal := _address(entry)) is not None:
        return literal == address
    if entry.startswith("*."):
        entry = entry[1:]
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or host.endswith(f".{entry}")


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        inside, _, rest = entry[1:].partition("]")
        return inside, int(rest[1:]) if rest[1:].isdecimal() else None
    name, colon, port = entry.rpartition(":")
    if colon and ":" not in name and port.isdecimal():
        return name, int(port)
    return entry, None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
