"""The links on the host that macvlan and ipvlan links are made on: which one a network has. Pure.

Source: moby, daemon/libnetwork/drivers/macvlan and ipvlan (*_network.go, *_setup.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from services.errors import EngineError, InvalidParameter
from services.networks.model import Network

PARENT: Final = "parent"
"""The option that names it."""

DUMMY_PREFIXES: Final = MappingProxyType({"macvlan": "dm-", "ipvlan": "di-"})
"""Of parents that we make for networks which were given none, by driver."""


def named_parent(options: Mapping[str, str], driver: str) -> str:
    """The parent that a network's options name, "" for none.

    Raises:
        InvalidParameter: there can be no such parent.
    """
    parent = options.get(PARENT, "")
    if parent == "lo":
        raise InvalidParameter(f"loopback interface is not a valid {driver} parent link")
    if len(parent.encode()) > 15 or "/" in parent or any(c.isspace() for c in parent):
        raise InvalidParameter(f"invalid {driver} parent link: {parent}")
    return parent


def own_parent(driver: str, network_id: str) -> str:
    """The name of the parent that is made for a network which was given none."""
    return f"{DUMMY_PREFIXES[driver]}{network_id[:12]}"


def has_own_parent(network: Network) -> bool:
    """Whether its parent is one that is made for it, and leads nowhere."""
    return network.link == own_parent(network.driver, network.id)


def vlan_of(parent: str) -> tuple[str, int]:
    """Link and VLAN of "eth0.10".

    Raises:
        EngineError: it does not look so, and such a parent has to be there already.
    """
    link, separator, tag = parent.rpartition(".")
    if not separator or not link:
        raise EngineError(f"invalid subinterface vlan name {parent}, example formatting is eth0.10")
    if not tag.isascii() or not tag.isdigit() or not 0 < int(tag) < 4095:
        raise EngineError(f"vlan id must be between 1-4094, received: {tag}")
    return link, int(tag)
