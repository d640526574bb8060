"""What an overlay network is made of: who sends to whom over which path. Values.

Source: moby, daemon/libnetwork/drivers/overlay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.networks import model
from services.networks.model import Network, Subnet

DRIVER: Final = "overlay"
SWARM_SCOPE: Final = "swarm"
ENCRYPTED: Final = "encrypted"

UNDERLAY_MTU: Final = 1500
VXLAN_BYTES: Final = 50
"""What VXLAN adds to a packet: Ethernet, IPv4, UDP and its own header."""
ESP_BYTES: Final = 40
"""What encryption adds at most: SPI, number, IV, padding, its length, the next header, the ICV."""


@dataclass(frozen=True, slots=True, order=True)
class Neighbour:
    """Somebody in an overlay network on another node; `node` is that one's data path address."""

    address: str
    mac: str
    node: str


def wants_encryption(options: Mapping[str, str]) -> bool:
    """Whether what goes between nodes is to be encrypted: the option alone says so, too."""
    return options.get(ENCRYPTED, "false").lower() not in ("false", "0", "f")


def bridge_name(number: int) -> str:
    """The bridge of a network's subnet, inside the network's namespace."""
    return f"br{number}"


def vxlan_name(network_id: str, number: int) -> str:
    """The VXLAN link of a network's subnet. It comes from the host: nobody else's name there."""
    return f"vx-{network_id[:8]}-{number}"


def overlay_mtu(options: Mapping[str, str]) -> int:
    """How large containers' packets are: the way between the nodes takes `mtu`, 1500 by default."""
    text = options.get(model.MTU, "")
    underlay = int(text) if text.isdecimal() and int(text) > 0 else UNDERLAY_MTU
    return underlay - VXLAN_BYTES - (ESP_BYTES if wants_encryption(options) else 0)


def encrypted_port(port: int) -> int:
    """The UDP port of encrypted networks, where others have `port`: the kernel tells by it what
    must not go in plain text. Outside of the two kernels it is not seen."""
    return port + 1


def carried_subnets(network: Network) -> list[Subnet]:
    """The subnets that have a VXLAN of their own, in order. IPv4 only, as in swarm."""
    return [subnet for subnet in network.of_version(4) if subnet.vxlan_id]


def namespace_of_network(directory: Path, network_id: str) -> Path:
    """Where the namespace of an overlay network is held."""
    return directory / network_id
