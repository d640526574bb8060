"""Which addresses published ports get, in each combination of what there is to lead them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from services.networks.firewall.network_rules import PortTargets, Target
from services.networks.ports import PortRequest, PublishedPort
from services.networks.published.port_plan import (
    PortMeans,
    is_proxied,
    port_groups,
    proxy_target,
    routed_ports,
)

V4 = Target(bridge="b", address=IPv4Address("10.0.0.2"))
V6 = Target(bridge="b", address=IPv6Address("fd00::2"))
ONLY_4, ONLY_6, DUAL = PortTargets(ipv4=V4), PortTargets(ipv6=V6), PortTargets(ipv4=V4, ipv6=V6)
ALL = PortMeans()
KERNEL = PortMeans(has_proxy=False)
PROXY = PortMeans(has_firewall=False, has_firewall6=False)
KERNEL_4 = PortMeans(has_firewall6=False)


def asked(*addresses: str, protocol: str = "tcp", first: int = 0) -> list[PortRequest]:
    return [
        PortRequest(
            protocol=protocol, container_port=80, host_address=address, first=first, last=first
        )
        for address in addresses
    ]


@pytest.mark.parametrize(
    ("address", "targets", "means", "default", "expected"),
    [
        ("", ONLY_4, ALL, "0.0.0.0", ["0.0.0.0", "::"]),
        ("", DUAL, ALL, "0.0.0.0", ["0.0.0.0", "::"]),
        ("", ONLY_6, ALL, "0.0.0.0", ["::"]),
        ("", ONLY_4, KERNEL, "0.0.0.0", ["0.0.0.0"]),
        ("", DUAL, KERNEL, "0.0.0.0", ["0.0.0.0", "::"]),
        ("", ONLY_4, PROXY, "0.0.0.0", ["0.0.0.0", "::"]),
        ("", DUAL, PortMeans(has_ipv6=False), "0.0.0.0", ["0.0.0.0"]),
        ("", DUAL, ALL, "127.0.0.1", ["127.0.0.1"]),
        ("", ONLY_4, ALL, "::", ["::"]),
        ("0.0.0.0", DUAL, ALL, "127.0.0.1", ["0.0.0.0"]),
        ("::1", ONLY_4, ALL, "0.0.0.0", ["::1"]),
        ("::1", DUAL, KERNEL, "0.0.0.0", []),
        ("2001:db8::1", DUAL, KERNEL, "0.0.0.0", ["2001:db8::1"]),
        ("2001:db8::1", ONLY_4, KERNEL, "0.0.0.0", []),
        ("10.0.0.1", ONLY_6, ALL, "0.0.0.0", []),
        ("", PortTargets(), ALL, "0.0.0.0", []),
    ],
)
def test_addresses_of_a_port(
    address: str, targets: PortTargets, means: PortMeans, default: str, expected: list[str]
) -> None:
    """All that can be led, and nothing else."""
    groups = port_groups(asked(address), targets, means, default)
    assert [found for group in groups for found in group.host_addresses] == expected


def test_ports_that_share_their_number() -> None:
    """Those that differ in the address alone; another protocol or choice is on its own."""
    requests = [
        *asked("127.0.0.1", "::1", "127.0.0.1"),
        *asked("", first=8080),
        *asked("", protocol="udp"),
    ]
    groups = port_groups(requests, ONLY_4, ALL)
    assert [(group.protocol, group.first, group.host_addresses) for group in groups] == [
        ("tcp", 0, ("127.0.0.1", "::1")),
        ("tcp", 8080, ("0.0.0.0", "::")),
        ("udp", 0, ("0.0.0.0", "::")),
    ]


def test_sctp_has_no_proxy() -> None:
    """So it is led by the kernel or not at all."""
    (group,) = port_groups(asked("", protocol="sctp"), ONLY_4, ALL)
    assert group.host_addresses == ("0.0.0.0",)
    assert port_groups(asked("", protocol="sctp"), ONLY_4, PROXY) == []


def test_a_routed_family_is_open_at_the_container() -> None:
    """Without a port of the host, whatever was asked for; the other family is led as ever."""
    routed = PortTargets(
        ipv4=V4, ipv6=Target(bridge="b", address=IPv6Address("fd00::2"), is_routed=True)
    )
    requests = [*asked("", first=8080), *asked("::1", first=8081)]
    (group,) = port_groups(requests, routed, ALL)
    assert group.host_addresses == ("0.0.0.0",)
    (port,) = routed_ports(requests, routed, ALL)
    assert (port.host_address, port.host_port, port.container_port) == ("::", 0, 80)
    assert not is_proxied(port, routed, ALL)
    assert routed_ports(requests, DUAL, ALL) == []


@pytest.mark.parametrize(
    ("address", "targets", "means", "target"),
    [
        ("0.0.0.0", DUAL, ALL, None),
        ("0.0.0.0", DUAL, PROXY, V4),
        ("::", DUAL, ALL, V6),
        ("::", ONLY_4, ALL, V4),
        ("::1", DUAL, ALL, V6),
        ("fe80::1", DUAL, ALL, V6),
        ("2001:db8::1", DUAL, ALL, None),
        ("2001:db8::1", ONLY_4, ALL, V4),
        ("::", ONLY_4, KERNEL, None),
        ("2001:db8::1", DUAL, KERNEL_4, V6),
        ("0.0.0.0", DUAL, KERNEL_4, None),
    ],
)
def test_what_the_proxy_carries(
    address: str, targets: PortTargets, means: PortMeans, target: Target | None
) -> None:
    """What the kernel cannot: from a family to the other, and from the host's own [::1]."""
    port = PublishedPort(protocol="tcp", container_port=80, host_address=address, host_port=1)
    assert is_proxied(port, targets, means) is (target is not None)
    if target is not None:
        assert proxy_target(port, targets) == target
