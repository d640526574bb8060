"""What the rules let through, shown by real packets between namespaces, in both IP families."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from services.networks.firewall.bridge_filter import require_bridge_filter
from services.networks.firewall.network_rules import (
    FamilyRules,
    FirewallPolicy,
    GatewayMode,
    NetworkRules,
    PortTargets,
    Target,
)
from services.networks.firewall.ruleset import Publication, whole_table
from services.networks.ports import PublishedPort
from tests.support.lab import Lab, running_lab

pytestmark = pytest.mark.engine

TABLE = "wf"
FIRST, SECOND = "br-first", "br-second"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two bridges with two containers each, which answer on 80 and 81; host and neighbour on 81."""
    with running_lab({FIRST: ["a", "b"], SECOND: ["c", "d"]}) as lab:
        for name in "abcd":
            lab.listen(name, 80, 81)
        lab.listen("outside", 81)
        lab.listen("host", 81)
        yield lab


def network(bridge: str, **options: object) -> NetworkRules:
    number = {FIRST: 0, SECOND: 1}[bridge]
    rules = NetworkRules(
        bridge=bridge,
        ipv4=FamilyRules(subnet=IPv4Network(f"10.99.{number}.0/24")),
        ipv6=FamilyRules(subnet=IPv6Network(f"fd00:99:{number}::/64")),
    )
    return replace(rules, **options)  # type: ignore[arg-type]


def in_mode(bridge: str, mode: GatewayMode) -> NetworkRules:
    rules = network(bridge)
    assert rules.ipv4 is not None
    assert rules.ipv6 is not None
    return replace(rules, ipv4=replace(rules.ipv4, mode=mode), ipv6=replace(rules.ipv6, mode=mode))


def publication(
    lab: Lab, name: str, *hosts: tuple[str, int], is_routed: bool = False
) -> Publication:
    """Port 80 of a container at these addresses and ports of the host."""
    place = lab.place(name)
    bridge = FIRST if name in "ab" else SECOND
    return Publication(
        targets=PortTargets(
            ipv4=Target(bridge=bridge, address=IPv4Address(place.ipv4), is_routed=is_routed),
            ipv6=Target(bridge=bridge, address=IPv6Address(place.ipv6), is_routed=is_routed),
        ),
        ports=tuple(
            PublishedPort(protocol="tcp", container_port=80, host_address=address, host_port=number)
            for address, number in hosts
        ),
    )


def write(
    lab: Lab,
    *networks: NetworkRules,
    published: dict[str, Publication] | None = None,
    policy: FirewallPolicy | None = None,
) -> None:
    by_bridge = {rules.bridge: rules for rules in networks}
    text = whole_table(TABLE, policy or FirewallPolicy(), by_bridge, published or {})
    lab.host.run("nft", "-f", "-", text=text)


def both(lab: Lab, source: str, to: str, port: int) -> list[tuple[str, str, int]]:
    place = lab.place(to)
    return [(source, place.ipv4, port), (source, place.ipv6, port)]


def check(
    lab: Lab, reached: list[tuple[str, str, int]], closed: list[tuple[str, str, int]]
) -> None:
    """Those answer, and these do not."""
    assert set(lab.reached(reached, closed)) == set(reached)


BRIDGE_SWITCHES = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
EVERYWHERE = (("0.0.0.0", 8080), ("::", 8080))


def test_a_network_of_its_own(lab: Lab) -> None:
    """Out under the host's address, to those beside it, the host to it; nobody else to it."""
    write(lab, network(FIRST), network(SECOND))
    open_ones = [
        *both(lab, "a", "b", 80),
        *both(lab, "a", "host", 81),
        *both(lab, "host", "a", 80),
        *both(lab, "a", "outside", 81),
    ]
    closed = [
        *both(lab, "a", "c", 80),
        *both(lab, "c", "a", 80),
        *both(lab, "outside", "a", 80),
        *both(lab, "outside", "c", 81),
    ]
    found = lab.reached(open_ones, closed)
    assert set(found) == set(open_ones)
    assert found["a", "192.0.2.2", 81] == ("outside", "192.0.2.1")
    assert found["a", "2001:db8::2", 81] == ("outside", "2001:db8::1")
    assert found["a", lab.place("b").ipv4, 80] == ("b", lab.place("a").ipv4)


def test_a_bridges_own_address_is_the_hosts(lab: Lab) -> None:
    """A neighbour with a route reaches it; the documented rule keeps it for containers."""
    write(lab, network(FIRST), network(SECOND))
    own = ("10.99.0.1", 81)
    check(lab, [("outside", *own), ("a", *own)], [])
    lines = [
        "add table inet own",
        "add chain inet own own { type filter hook input priority 0; policy accept; }",
        f'add rule inet own own iifname != "{FIRST}" ip daddr {own[0]} drop',
    ]
    lab.host.run("nft", "-f", "-", text="\n".join(lines) + "\n")
    try:
        check(lab, [("a", *own)], [("outside", *own)])
    finally:
        lab.host.run("nft", "delete table inet own")


def test_a_published_port(lab: Lab) -> None:
    """At all of the host's addresses, for host, neighbour, the other network, itself and beside.

    Neither the port itself nor others are reached at the container's address from outside.
    """
    write(
        lab,
        network(FIRST),
        network(SECOND),
        published={"a": publication(lab, "a", *EVERYWHERE)},
    )
    reached = [
        *both(lab, "outside", "host", 8080),
        *both(lab, "host", "host", 8080),
        *both(lab, "a", "host", 8080),
        *both(lab, "b", "host", 8080),
        *both(lab, "c", "host", 8080),
        ("host", "127.0.0.1", 8080),
        ("host", "10.99.0.1", 8080),
        ("b", "10.99.0.1", 8080),
        ("b", "fd00:99::1", 8080),
        ("c", "fd00:99:1::1", 8080),
    ]
    closed = [
        *both(lab, "outside", "a", 80),
        *both(lab, "outside", "a", 81),
        *both(lab, "c", "a", 80),
        ("host", "::1", 8080),  # the kernel cannot: that is the proxy's
    ]
    found = lab.reached(reached, closed)
    assert set(found) == set(reached)
    assert {name for name, _ in found.values()} == {"a"}
    assert found["outside", "192.0.2.1", 8080] == ("a", "192.0.2.2")
    assert found["outside", "2001:db8::1", 8080] == ("a", "2001:db8::2")


def test_ports_at_one_address(lab: Lab) -> None:
    """At that address alone; one on 127.0.0.1 is for the host, whatever a neighbour sends."""
    published = publication(
        lab, "a", ("127.0.0.1", 8080), ("192.0.2.1", 8081), ("2001:db8::1", 8081)
    )
    write(lab, network(FIRST), network(SECOND), published={"a": published})
    lab.outside.run(
        "ip", "route", "replace", "127.0.0.1", "via", "192.0.2.1", "src", "192.0.2.2", "table", "77"
    )
    lab.outside.run("ip", "rule", "add", "pref", "0", "to", "127.0.0.1", "lookup", "77")
    lab.outside.run("ip", "rule", "add", "pref", "1", "lookup", "local")
    lab.outside.run("ip", "rule", "del", "pref", "0", "lookup", "local")
    lab.outside.run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
    way = lab.outside.run("ip", "route", "get", "127.0.0.1")
    assert "dev eth0" in way
    reached = [
        ("host", "127.0.0.1", 8080),
        *both(lab, "outside", "host", 8081),
        *both(lab, "host", "host", 8081),
    ]
    closed = [
        ("outside", "127.0.0.1", 8080),
        *both(lab, "outside", "host", 8080),
        ("host", "192.0.2.1", 8080),
        ("host", "127.0.0.1", 8081),
        ("outside", "10.99.0.1", 8081),
        ("a", "127.0.0.1", 8080),
    ]
    check(lab, reached, closed)
    lab.host.run("sysctl", "-qw", "net.ipv4.conf.up0.route_localnet=1")
    check(lab, [], [("outside", "127.0.0.1", 8080)])
    lab.host.run("sysctl", "-qw", "net.ipv4.conf.up0.route_localnet=0")


def test_without_icc(lab: Lab) -> None:
    """Those beside each other are apart, but for published ports; out and the host as ever.

    The switch that shows the rules what is bridged is set: on many hosts it is not.
    """
    lab.host.run("sysctl", "-qw", *(f"net.bridge.{switch}=0" for switch in BRIDGE_SWITCHES))
    lab.host.inside(partial(require_bridge_filter, ipv6=True))
    write(
        lab,
        network(FIRST, icc=False),
        network(SECOND),
        published={"a": publication(lab, "a", *EVERYWHERE)},
    )
    reached = [
        *both(lab, "b", "host", 8080),
        *both(lab, "b", "host", 81),
        *both(lab, "b", "outside", 81),
        *both(lab, "host", "b", 80),
        *both(lab, "c", "d", 80),
    ]
    closed = [*both(lab, "a", "b", 80), *both(lab, "b", "a", 80), *both(lab, "c", "b", 80)]
    check(lab, reached, closed)


def test_an_internal_network(lab: Lab) -> None:
    """No way out or in but for the host; those in it reach each other."""
    write(
        lab,
        network(FIRST, internal=True),
        network(SECOND),
        published={"c": publication(lab, "c", *EVERYWHERE)},
    )
    reached = [*both(lab, "a", "b", 80), *both(lab, "host", "a", 80), ("a", "10.99.0.1", 81)]
    closed = [
        *both(lab, "a", "outside", 81),
        *both(lab, "a", "c", 80),
        *both(lab, "c", "a", 80),
        *both(lab, "outside", "a", 80),
        ("a", "10.99.0.1", 8080),
    ]
    check(lab, reached, closed)


@pytest.mark.parametrize("mode", [GatewayMode.ROUTED, GatewayMode.NAT_UNPROTECTED])
def test_direct_access(lab: Lab, mode: GatewayMode) -> None:
    """routed: published ports at the container's address, no others, and none at the host's.

    nat-unprotected: all of them. What goes out from a routed network keeps its address.
    """
    routed = mode is GatewayMode.ROUTED
    write(
        lab,
        in_mode(FIRST, mode),
        network(SECOND),
        published={"a": publication(lab, "a", *EVERYWHERE, is_routed=routed)},
    )
    published = [*both(lab, "outside", "a", 80), *both(lab, "c", "a", 80)]
    others = [*both(lab, "outside", "a", 81), *both(lab, "outside", "b", 80)]
    at_host = both(lab, "outside", "host", 8080)
    out = both(lab, "a", "outside", 81)
    closed = both(lab, "outside", "c", 80)
    reached = [*published, *out]
    (closed if routed else reached).extend([*others, *at_host])
    found = lab.reached(reached, closed)
    assert set(found) == set(reached)
    assert found["a", "192.0.2.2", 81] == ("outside", "10.99.0.2" if routed else "192.0.2.1")
    assert found["a", "2001:db8::2", 81] == ("outside", "fd00:99::2" if routed else "2001:db8::1")


def test_icmp_to_routed_ones(lab: Lab) -> None:
    """They answer pings; those that are translated do not."""
    write(lab, in_mode(FIRST, GatewayMode.ROUTED), network(SECOND))
    for address in (lab.place("a").ipv4, lab.place("a").ipv6):
        lab.outside.run("busybox", "ping", "-c1", "-W10", address)
    with pytest.raises(AssertionError):
        lab.outside.run("busybox", "ping", "-c1", "-W1", lab.place("c").ipv4)


def test_exceptions_from_the_rule(lab: Lab) -> None:
    """--allow-direct-routing and trusted links open published ports, and --bridge-accept-fwmark
    what bears the mark."""
    published = {
        "a": publication(lab, "a", *EVERYWHERE),
        "c": publication(lab, "c", ("0.0.0.0", 1)),
    }
    open_one, other = both(lab, "outside", "a", 80), both(lab, "outside", "a", 81)
    second = both(lab, "outside", "c", 80)
    policy = FirewallPolicy(allow_direct_routing=True)
    write(lab, network(FIRST), network(SECOND), published=published, policy=policy)
    check(lab, open_one, other)
    trusting = network(FIRST, trusted_interfaces=("up0", "other"))
    write(lab, trusting, network(SECOND), published=published)
    check(lab, open_one, [*other, *second])
    marking = "type filter hook prerouting priority raw; tcp dport 81 meta mark set 0x15;"
    marking = f"table inet m {{\nchain c {{ {marking} }}\n}}"
    lab.host.run("nft", "-f", "-", text=marking)
    policy = FirewallPolicy(accept_mark=(0x5, 0xF))
    write(lab, network(FIRST), network(SECOND, internal=True), published=published, policy=policy)
    check(lab, other, [*open_one, *both(lab, "outside", "c", 81)])
    lab.host.run("nft", "delete", "table", "inet", "m")


def test_the_way_out(lab: Lab) -> None:
    """Under an address that the network names, or under its own without masquerading."""
    lab.host.run("ip", "address", "add", "192.0.2.77/24", "dev", "up0")
    lab.host.run("ip", "address", "add", "2001:db8::77/64", "dev", "up0", "nodad")
    first, second = network(FIRST), network(SECOND)
    assert first.ipv4
    assert first.ipv6
    assert second.ipv4
    first = replace(
        first,
        ipv4=replace(first.ipv4, host_address=IPv4Address("192.0.2.77")),
        ipv6=replace(first.ipv6, host_address=IPv6Address("2001:db8::77")),
    )
    second = replace(second, ipv4=replace(second.ipv4, masquerade=False))
    write(lab, first, second)
    attempts = [*both(lab, "a", "outside", 81), *both(lab, "c", "outside", 81)]
    found = lab.reached(attempts)
    assert [found[attempt][1] for attempt in attempts] == [
        "192.0.2.77",
        "2001:db8::77",
        "10.99.1.2",
        found["c", "2001:db8::2", 81][1],
    ]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_sctp(lab: Lab, family: int) -> None:
    """A published port is led there too; no socket of SCTP is needed for that."""
    published = publication(lab, "a", *EVERYWHERE)
    ports = tuple(replace(port, protocol="sctp") for port in published.ports)
    write(lab, network(FIRST), published={"a": replace(published, ports=ports)})
    inside = lab.place("a").inside(lambda: socket.socket(family, socket.SOCK_RAW, SCTP))
    outside = lab.outside.inside(lambda: socket.socket(family, socket.SOCK_RAW, SCTP))
    with inside, outside:
        inside.settimeout(30)
        host = lab.host.ipv6 if family == socket.AF_INET6 else lab.host.ipv4
        outside.sendto(sctp_init(source=5000, destination=8080), (host, 0))
        packet, (source, *_) = inside.recvfrom(2000)
    at = 0 if family == socket.AF_INET6 else 20
    assert struct.unpack_from("!HH", packet, at) == (5000, 80)
    assert source in (lab.outside.ipv4, lab.outside.ipv6)


SCTP = 132


def sctp_init(*, source: int, destination: int) -> bytes:
    """The first packet of an association. Source: RFC 9260, 3.1 and 3.3.2."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 7)
    head = struct.pack("!HHI", source, destination, 0)
    check = 0xFFFFFFFF
    for byte in head + bytes(4) + chunk:
        check ^= byte
        for _ in range(8):
            check = check >> 1 ^ (0x82F63B78 if check & 1 else 0)
    return head + struct.pack("<I", check ^ 0xFFFFFFFF) + chunk
