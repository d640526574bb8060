"""What the configuration says about networks, checked.

Source: moby, daemon/config, whose sentences these are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import cast

from services.networks.ports import ANY_ADDRESS
from supervisor.configuration.merged import Merged
from supervisor.configuration.settings import NetworkDefaults
from supervisor.configuration.values import AddressPool


def network_defaults(values: Merged) -> NetworkDefaults:
    """The section. Raises ValueError for what is not allowed, or contradicts another."""
    _check(values)
    fixed = _cidr("fixed-cidr", values.text("fixed-cidr"))
    fixed6 = _cidr6("fixed-cidr-v6", values.text("fixed-cidr-v6"))
    return NetworkDefaults(
        bridge=values.text("bridge"),
        bridge_address=_cidr("bip", values.text("bip")),
        fixed_cidr=fixed.network if fixed else None,
        gateway=_gateway(values),
        ipv6=values.switch("ipv6"),
        bridge_address6=_cidr6("bip6", values.text("bip6")),
        fixed_cidr6=fixed6.network if fixed6 else None,
        gateway6=_gateway6(values),
        icc=values.switch("icc"),
        pools=cast("tuple[AddressPool, ...]", values.raw("default-address-pool")),
        default_options=_driver_options(values),
        mtu=values.number("mtu") or 1500,
        ip_forward=values.switch("ip-forward"),
        ip_masquerade=values.switch("ip-masq"),
        firewall=values.switch("iptables"),
        firewall6=values.switch("ip6tables"),
        userland_proxy=values.switch("userland-proxy"),
        host_address=str(values.raw("ip") or ANY_ADDRESS),
        allow_direct_routing=values.switch("allow-direct-routing"),
        accept_mark=_firewall_mark(values.text("bridge-accept-fwmark")),
        host_gateways=_host_gateways(values.texts("host-gateway-ip")),
    )


def _check(values: Merged) -> None:
    """Raise ValueError for what contradicts another."""
    if values.number("mtu") < 0:
        raise ValueError(f"invalid default MTU: {values.number('mtu')}")
    if values.text("firewall-backend") not in ("", "iptables", "nftables"):
        raise ValueError('invalid firewall-backend: allowed values are "iptables" and "nftables"')
    if values.text("firewall-backend") == "iptables":
        raise ValueError("--firewall-backend=iptables: the only firewall supported is nftables")
    for flag in ("bip", "bip6"):
        if values.text("bridge") and values.text(flag):
            raise ValueError(
                f"You specified -b & --{flag}, mutually exclusive options. Please specify only one"
            )
    if not values.switch("icc") and not values.switch("iptables"):
        raise ValueError(
            "You specified --iptables=false with --icc=false. ICC=false uses iptables to function. "
            "Please set --icc or --iptables to true"
        )


def _gateway(values: Merged) -> ipaddress.IPv4Address | None:
    gateway = values.raw("default-gateway")
    if gateway is None or isinstance(gateway, ipaddress.IPv4Address):
        return gateway
    raise ValueError(f"--default-gateway: {gateway} is not an IPv4 address")


def _gateway6(values: Merged) -> ipaddress.IPv6Address | None:
    gateway = values.raw("default-gateway-v6")
    if gateway is None or isinstance(gateway, ipaddress.IPv6Address):
        return gateway
    raise ValueError(f"--default-gateway-v6: {gateway} is not an IPv6 address")


def _driver_options(values: Merged) -> Mapping[str, Mapping[str, str]]:
    """The default options of new networks, by driver; the last one of a name counts."""
    found: dict[str, dict[str, str]] = {}
    triples = cast("tuple[tuple[str, str, str], ...]", values.raw("default-network-opt"))
    for driver, option, value in triples:
        found.setdefault(driver, {})[option] = value
    return found


def _firewall_mark(text: str) -> tuple[int, int] | None:
    """`MARK` or `MARK/MASK`, each as the kernel's tools write it: 1, 0x1, 0o1."""
    if not text:
        return None
    mark, has_mask, mask = text.partition("/")
    numbers = []
    for what, number in (("mark", mark), ("mask", mask if has_mask else "0xffffffff")):
        try:
            numbers.append(int(number, 0))
        except ValueError:
            raise ValueError(f'invalid firewall {what} "{number}"') from None
        if not 0 <= numbers[-1] <= 0xFFFFFFFF:
            raise ValueError(f'invalid firewall {what} "{number}": it has 32 bits')
    return numbers[0], numbers[1]


def _host_gateways(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """One of each family, IPv4 first. Source: moby, daemon/config."""
    by_version: dict[int, str] = {}
    for address in addresses:
        version = ipaddress.ip_address(address).version
        if version in by_version:
            raise ValueError(f"only one IPv{version} host gateway IP address can be specified")
        by_version[version] = address
    return tuple(by_version[version] for version in sorted(by_version))


def _cidr6(flag: str, text: str) -> ipaddress.IPv6Interface | None:
    """An IPv6 address with the length of its network. Source: moby, ValidateFixedCIDRV6."""
    if not text:
        return None
    try:
        address = ipaddress.IPv6Interface(text) if "/" in text else None
    except ValueError:
        address = None
    if address is None:
        raise ValueError(f"--{flag}: invalid CIDR address: {text}")
    local = ipaddress.IPv6Network("fe80::/64")
    if address.ip.is_multicast:
        raise ValueError(f"invalid {flag}: multicast subnet '{text}' is not allowed")
    if address.network != local and address.network.overlaps(local):
        raise ValueError(f"invalid {flag}: '{text}' clashes with the Link-Local prefix 'fe80::/64'")
    return address


def _cidr(flag: str, text: str) -> ipaddress.IPv4Interface | None:
    if not text:
        return None
    try:
        if "/" in text:
            return ipaddress.IPv4Interface(text)
    except ValueError:
        pass
    raise ValueError(f"--{flag}: invalid CIDR address: {text}")
