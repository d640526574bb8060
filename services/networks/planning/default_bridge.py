"""The default bridge: what the daemon's flags ask of it, and the network that comes of that.

It has no record on disk: it is made anew from the flags, and keeps the addresses that its link has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Final

from services.errors import InvalidParameter
from services.networks import model
from services.networks.ipam.pools import Pool, free_subnet
from services.networks.model import Address, Network, Prefix, Subnet
from services.networks.ports import ANY_ADDRESS

GATEWAY4: Final = "DefaultGatewayIPv4"
GATEWAY6: Final = "DefaultGatewayIPv6"
"""Among the auxiliary addresses: another default gateway than the bridge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig:
    """What the user wants of the default bridge. None and "" leave the choice to us.

    `address` is the bridge's own with its subnet (`--bip`), `allowed` the part of it that
    containers get addresses from (`--fixed-cidr`), `gateway` another default route for them.
    """

    name: str = "docker0"
    address: IPv4Interface | None = None
    allowed: IPv4Network | None = None
    gateway: IPv4Address | None = None
    ipv6: bool = False
    address6: IPv6Interface | None = None
    allowed6: IPv6Network | None = None
    gateway6: IPv6Address | None = None
    mtu: int = 1500
    masquerade: bool = True
    icc: bool = True
    host_binding: str = ""


def bridge_network(config: BridgeConfig, network_id: str) -> Network:
    """The network as it is before it has its addresses."""
    return Network(
        id=network_id,
        name=model.BRIDGE,
        driver="bridge",
        ipv6=config.ipv6,
        link=config.name,
        owns_link=True,
        options={
            model.DEFAULT_BRIDGE: "true",
            model.ENABLE_ICC: str(config.icc).lower(),
            model.ENABLE_MASQUERADE: str(config.masquerade).lower(),
            model.HOST_BINDING: config.host_binding or ANY_ADDRESS,
            model.BRIDGE_NAME: config.name,
            model.MTU: str(config.mtu),
        },
    )


def bridge_subnets(
    config: BridgeConfig,
    *,
    present: Sequence[IPv4Interface | IPv6Interface],
    pools: Sequence[Pool],
    taken: Iterable[Prefix],
) -> list[Subnet]:
    """The subnets of the default bridge. Addresses that its link has already are kept.

    Raises:
        InvalidParameter: the flags contradict each other, or no subnet is free.
    """
    taken = list(taken)
    subnets = [
        _subnet(
            4,
            asked=config.address,
            allowed=config.allowed,
            gateway=config.gateway,
            present=[address for address in present if address.version == 4],
            pools=pools,
            taken=taken,
        )
    ]
    if config.ipv6:
        subnets.append(
            _subnet(
                6,
                asked=config.address6,
                allowed=config.allowed6,
                gateway=config.gateway6,
                present=[address for address in present if address.version == 6],
                pools=pools,
                taken=taken,
            )
        )
    return subnets


def _subnet(
    version: int,
    *,
    asked: IPv4Interface | IPv6Interface | None,
    allowed: Prefix | None,
    gateway: Address | None,
    present: Sequence[IPv4Interface | IPv6Interface],
    pools: Sequence[Pool],
    taken: Iterable[Prefix],
) -> Subnet:
    own = asked or _fitting(present, allowed)
    if own is None:
        prefix = allowed or free_subnet(pools, version, taken)
        own_ip, subnet = prefix.network_address + 1, prefix
    else:
        own_ip, subnet = own.ip, own.network
    if gateway is not None and gateway not in subnet:
        raise InvalidParameter(
            f"default gateway {gateway} must be part of the network {subnet} of the bridge"
        )
    if allowed is not None and not allowed.overlaps(subnet):
        raise InvalidParameter(f"fixed-cidr {allowed} is not in the subnet {subnet} of the bridge")
    aux = {GATEWAY4 if version == 4 else GATEWAY6: str(gateway)} if gateway else {}
    return Subnet(
        subnet=str(subnet),
        ip_range=str(allowed) if allowed is not None and allowed != subnet else "",
        gateway=str(own_ip),
        auxiliary=aux,
        is_chosen=asked is None and allowed is None,
    )


def _fitting(
    present: Sequence[IPv4Interface | IPv6Interface], allowed: Prefix | None
) -> IPv4Interface | IPv6Interface | None:
    """The address that the link has, of several one that the range lies in."""
    for address in present:
        if allowed is None or allowed.overlaps(address.network):
            return address
    return None


def default_gateway(subnet: Subnet) -> str:
    """What containers send everything else through: "" without a gateway."""
    return subnet.auxiliary.get(GATEWAY4) or subnet.auxiliary.get(GATEWAY6) or subnet.gateway
