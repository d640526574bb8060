"""Subnets and VXLAN ids for networks that span nodes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from services.cluster.model.objects import Cluster, ClusterNetwork, VxlanNetwork
from services.cluster.model.specs import IpamRange

DEFAULT_POOLS: Final = ("10.0.0.0/8",)
"""Where subnets come from if `swarm init` named no pool. Source: Engine API, SwarmInitRequest."""

FIRST_VXLAN_ID: Final = 4096
LAST_VXLAN_ID: Final = (1 << 24) - 1
_VXLAN_OPTION: Final = "com.docker.network.driver.overlay.vxlanid_list"

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class CannotAllocate(Exception):
    """There is nothing left, or what is asked for is another's. The text is for the log."""


def allocate(
    network: ClusterNetwork, cluster: Cluster, others: Iterable[ClusterNetwork]
) -> list[VxlanNetwork]:
    """A network's subnets, with gateways and VXLAN ids.

    Raises:
        CannotAllocate: the pools are used up, or a subnet overlaps with another network's.
    """
    taken = [subnet for other in others for subnet in other.subnets]
    used = [ipaddress.ip_network(subnet.subnet, strict=False) for subnet in taken]
    ranges = [one for one in network.spec.ipam if one.subnet]
    has_v4 = any(ipaddress.ip_network(r.subnet, strict=False).version == 4 for r in ranges)
    if not has_v4:
        ranges.insert(0, IpamRange(subnet=str(_free_subnet(cluster, used))))
    ids = _vxlan_ids(network, {subnet.vxlan_id for subnet in taken})
    return [_vxlan_network(network, one, used, next(ids)) for one in ranges]


def _vxlan_network(
    network: ClusterNetwork, wanted: IpamRange, used: Sequence[IpNetwork], vxlan_id: int
) -> VxlanNetwork:
    subnet = ipaddress.ip_network(wanted.subnet, strict=False)
    for other in used:
        if _overlap(subnet, other):
            raise CannotAllocate(
                f"network {network.spec.name} cannot have {subnet}: it overlaps with {other}"
            )
    return VxlanNetwork(
        subnet=str(subnet),
        gateway=wanted.gateway or str(subnet.network_address + 1),
        ip_range=wanted.ip_range,
        vxlan_id=vxlan_id,
    )


def _free_subnet(cluster: Cluster, used: Sequence[IpNetwork]) -> IpNetwork:
    """The first of the pools' subnets that nobody has."""
    for pool_text in cluster.default_address_pool or DEFAULT_POOLS:
        pool = ipaddress.ip_network(pool_text, strict=False)
        if pool.version != 4:
            continue
        prefix = max(cluster.subnet_size, pool.prefixlen)
        found = _first_free(pool, prefix, used)
        if found is not None:
            return found
    raise CannotAllocate("no subnet is left in the default address pools")


def _first_free(pool: IpNetwork, prefix: int, used: Sequence[IpNetwork]) -> IpNetwork | None:
    """Walks from subnet to subnet, and past each one that is in use at a stride."""
    size = 1 << (32 - prefix)
    at, end = int(pool.network_address), int(pool.broadcast_address)
    spans = sorted(
        (int(one.network_address), int(one.broadcast_address)) for one in used if one.version == 4
    )
    for first, last in spans:
        if at + size - 1 < first:
            break
        if last >= at:
            at = -(-(last + 1) // size) * size
    return ipaddress.ip_network((at, prefix)) if at + size - 1 <= end else None


def _vxlan_ids(network: ClusterNetwork, taken: set[int]) -> Iterator[int]:
    """Those that the network asks for by an option, then free ones from the lowest on."""
    asked = network.spec.options.get(_VXLAN_OPTION, "")
    for word in filter(None, asked.split(",")):
        if not word.isdigit() or not 0 < int(word) <= LAST_VXLAN_ID:
            raise CannotAllocate(f"network {network.spec.name}: {word} is no VXLAN id")
        if int(word) in taken:
            raise CannotAllocate(f"network {network.spec.name}: VXLAN id {word} is in use")
        taken.add(int(word))
        yield int(word)
    candidate = FIRST_VXLAN_ID
    while candidate <= LAST_VXLAN_ID:
        if candidate not in taken:
            taken.add(candidate)
            yield candidate
        candidate += 1
    raise CannotAllocate("no VXLAN id is left")


def _overlap(one: IpNetwork, other: IpNetwork) -> bool:
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one.overlaps(other)
    if isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return one.overlaps(other)
    return False
