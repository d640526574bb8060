"""The options of networks of the macvlan driver, and the rules for their parents. Pure.

Source: moby, daemon/libnetwork/drivers/macvlan (macvlan_network.go, macvlan_setup.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from services.errors import EngineError, InvalidParameter
from services.networks.model import Network

PARENT: Final = "parent"
MODE: Final = "macvlan_mode"
MODES: Final = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
"""The kernel's numbers (linux/if_link.h)."""

DUMMY_PREFIX: Final = "dm-"
"""A parent that we make for a network which was given none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MacvlanOptions:
    """`parent` "" has none: the network leads nowhere else."""

    parent: str = ""
    mode: str = "bridge"


def parse_macvlan_options(options: Mapping[str, str]) -> MacvlanOptions:
    """Read the options; those of other drivers are passed over.

    Raises:
        InvalidParameter: a mode or a parent that cannot be.
    """
    parent, mode = options.get(PARENT, ""), options.get(MODE, "") or "bridge"
    if mode not in MODES:
        raise InvalidParameter(
            f"requested macvlan mode '{mode}' is not valid, 'bridge' mode is the macvlan driver "
            "default"
        )
    if parent == "lo":
        raise InvalidParameter("loopback interface is not a valid macvlan parent link")
    if len(parent.encode()) > 15 or "/" in parent or any(c.isspace() for c in parent):
        raise InvalidParameter(f"invalid macvlan parent link: {parent}")
    return MacvlanOptions(parent=parent, mode=mode)


def parent_of(network_id: str, options: MacvlanOptions) -> str:
    """The link that a network's links are made on."""
    return options.parent or f"{DUMMY_PREFIX}{network_id[:12]}"


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


def check_sharing(parent: str, mode: str, present: Iterable[Network]) -> None:
    """Passthru gives the parent to one network alone.

    Raises:
        EngineError: it cannot be shared so; dockerd's text.
    """
    for network in present:
        if network.driver != "macvlan" or network.link != parent:
            continue
        if mode == "passthru":
            raise EngineError(
                f"cannot use mode passthru, macvlan network {network.id} is already using parent "
                f"interface {parent}"
            )
        if parse_macvlan_options(network.options).mode == "passthru":
            raise EngineError(
                f"macvlan network {network.id} is already using parent interface {parent} in mode "
                "passthru"
            )
