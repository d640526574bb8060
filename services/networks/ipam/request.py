"""What a client asks of a network's addresses, and what it gets. Pure.

Source: moby, daemon/internal/netiputil and daemon/network.go (ValidateIPAM), libnetwork/network.go
(ipamAllocate).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

from services.errors import EngineError, Forbidden, InvalidParameter
from services.networks.ipam.addresses import (
    PoolExhausted,
    first_free_address,
    reserved_addresses,
)
from services.networks.ipam.pools import Pool, free_subnet
from services.networks.model import Prefix, Subnet


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetRequest:
    """One element of `IPAM.Config`: texts as they came."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    auxiliary: Mapping[str, str] = field(default_factory=dict)


def check_subnets(requests: Iterable[SubnetRequest], *, ipv6: bool) -> None:
    """Refuse what no network can have, all of it at once.

    Raises:
        InvalidParameter: dockerd's text.
    """
    problems: list[str] = []
    for request in requests:
        problems += _problems_of(request, ipv6=ipv6)
    if problems:
        raise InvalidParameter("invalid network config:\n" + "\n".join(problems))


def allocate(
    requests: Sequence[SubnetRequest],
    version: int,
    *,
    pools: Sequence[Pool],
    present: Iterable[Prefix],
    routes: Iterable[Prefix],
    needs_gateway: bool,
) -> list[Subnet]:
    """The subnets of one version: those that were asked for, else the first free one.

    `present` are other networks'. Where the host's `routes` lead is left alone unless the user
    asks for it.

    Raises:
        Forbidden: a subnet overlaps another one.
        InvalidParameter: no subnet is free.
        EngineError: a subnet has no place for a gateway.
    """
    taken = [prefix for prefix in present if prefix.version == version]
    asked = [request for request in requests if _version_of(request.subnet) == version]
    if not asked:
        chosen = str(free_subnet(pools, version, [*taken, *routes]))
        return [_with_gateway(Subnet(subnet=chosen, is_chosen=True), needs_gateway=needs_gateway)]
    subnets: list[Subnet] = []
    for request in asked:
        subnet = Subnet(
            subnet=str(ip_interface(request.subnet).network),
            ip_range=str(ip_interface(request.ip_range).network) if request.ip_range else "",
            gateway=str(ip_address(request.gateway)) if request.gateway else "",
            auxiliary={name: str(ip_address(a)) for name, a in request.auxiliary.items()},
        )
        if any(subnet.prefix.overlaps(other) for other in taken):
            raise Forbidden(
                "invalid pool request: Pool overlaps with other one on this address space"
            )
        taken.append(subnet.prefix)
        subnets.append(_with_gateway(subnet, needs_gateway=needs_gateway))
    return subnets


def _with_gateway(subnet: Subnet, *, needs_gateway: bool) -> Subnet:
    _refuse_reserved(subnet)
    if subnet.gateway:
        for name, address in subnet.auxiliary.items():
            if address == subnet.gateway:
                raise Forbidden(_aux_in_use(name, address))
        return subnet
    if not needs_gateway:
        return subnet
    try:
        gateway = str(first_free_address(subnet))
    except PoolExhausted as error:
        raise EngineError(f"failed to allocate gateway (): {error}") from error
    return Subnet(
        subnet=subnet.subnet,
        ip_range=subnet.ip_range,
        gateway=gateway,
        auxiliary=subnet.auxiliary,
        is_chosen=subnet.is_chosen,
    )


def _refuse_reserved(subnet: Subnet) -> None:
    """Nobody can have the subnet's own address, nor IPv4's broadcast address."""
    reserved = reserved_addresses(subnet.prefix)
    if subnet.gateway and int(ip_address(subnet.gateway)) in reserved:
        raise EngineError(f"failed to allocate gateway ({subnet.gateway}): Address already in use")
    for name, address in subnet.auxiliary.items():
        if int(ip_address(address)) in reserved:
            raise Forbidden(_aux_in_use(name, address))


def _aux_in_use(name: str, address: str) -> str:
    return f"failed to allocate secondary ip address ({name}:{address}): Address already in use"


def _version_of(text: str) -> int:
    return ip_interface(text).version


def _problems_of(request: SubnetRequest, *, ipv6: bool) -> list[str]:
    subnet = _parse(request.subnet)
    if subnet is None:
        return [f"invalid subnet {request.subnet}: invalid CIDR block notation"]
    if subnet.version == 6 and not ipv6:
        return []
    problems = []
    prefix: Prefix = subnet.network
    if subnet.ip != prefix.network_address:
        problems.append(f"invalid subnet {subnet.with_prefixlen}: it should be {prefix}")
    problems += _problems_of_range(request.ip_range, prefix)
    if problem := _problem_of_address(request.gateway, prefix):
        problems.append(f"invalid gateway {request.gateway}: {problem}")
    for name, address in request.auxiliary.items():
        if problem := _problem_of_address(address, prefix):
            problems.append(f"invalid auxiliary address {name}: {problem}")
    return problems


def _problems_of_range(text: str, subnet: Prefix) -> list[str]:
    if not text:
        return []
    found = _parse(text)
    if found is None:
        return [f"invalid ip-range {text}: invalid CIDR block notation"]
    if found.version != subnet.version:
        return [f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"]
    problems, prefix = [], found.network
    if prefix.prefixlen < subnet.prefixlen:
        problems.append(
            f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
        )
    if found.ip != prefix.network_address:
        problems.append(f"invalid ip-range {found.with_prefixlen}: it should be {prefix}")
    if not prefix.overlaps(subnet):
        problems.append(f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range")
    return problems


def _problem_of_address(text: str, subnet: Prefix) -> str:
    if not text:
        return ""
    try:
        address = ip_address(text)
    except ValueError:
        return "invalid address"
    if address.version != subnet.version:
        return f"parent subnet is an IPv{subnet.version} block"
    if address not in subnet:
        return f"parent subnet {subnet} doesn't contain this address"
    return ""


def _parse(text: str) -> IPv4Interface | IPv6Interface | None:
    """An address with the length of its prefix, which Python would do without."""
    _, separator, length = text.partition("/")
    if not separator or not (length.isascii() and length.isdigit()):
        return None
    try:
        return ip_interface(text)
    except ValueError:
        return None
