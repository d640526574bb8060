"""Who may ask the observer: no page but its own, by no name but this machine's.

Whoever reaches the engine's socket may do anything, so there is no password here. What has to be
kept out is a browser that somebody else's page tells to ask: by a request across sites, or by a
name that was made to mean this machine (DNS rebinding).
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Mapping
from typing import Final

from services.errors import Forbidden, NotFound

HEADER: Final = "x-wharfinger"
"""A field that a request that changes something must have. A page of another site cannot set it
without asking first, and is never allowed to."""

OBSERVER_KEY: Final = "wharfinger.observer"
"""In the ASGI scope of a request that came by the observer's own address."""

OWN: Final = frozenset(
    {"tree", "parts", "reports", "crashes", "tasks", "lag", "metrics", "containers"}
)
"""What is the observer's below /wharfinger/v1: the engine has more there."""

_OWN_SITES: Final = ("same-origin", "none")


class Door(enum.Enum):
    """How a request came in."""

    UNIX = "unix"  # the engine's socket, perhaps forwarded to a port by its owner
    OBSERVER = "observer"  # the observer's own address, on loopback
    TCP = "tcp"  # the engine's API over TCP


def check(
    door: Door, *, method: str, scheme: str, headers: Mapping[str, str], is_page: bool
) -> None:
    """Let a request pass. Names of `headers` are in lower case.

    Raises:
        Forbidden: a browser sends it for another site, or it lacks HEADER.
        NotFound: the page, over the API's TCP port: it is off there.
    """
    if is_page and door is Door.TCP:
        raise NotFound("page not found")
    host = headers.get("host", "")
    if door is not Door.TCP and not is_local_name(host):
        raise Forbidden(f"the observer is not known by the name {host[:100]!r}")
    site = headers.get("sec-fetch-site")
    is_navigation = is_page and method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    if site is not None and site not in _OWN_SITES and not is_navigation:
        raise Forbidden("the observer does not answer pages of other sites")
    origin = headers.get("origin")
    if origin is not None and origin != f"{scheme}://{host}":
        raise Forbidden("the observer does not answer pages of other sites")
    if method not in ("GET", "HEAD") and not headers.get(HEADER):
        raise Forbidden("a request that changes something needs the field X-Wharfinger")


def is_local_name(host: str) -> bool:
    """Whether a Host field can only mean this machine, or was put there by a client on a socket.

    A name without a dot is nobody's in the DNS; clients of unix sockets send such names.
    """
    name = _without_port(host)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return bool(name) and ("." not in name or name.lower().endswith(".localhost"))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
