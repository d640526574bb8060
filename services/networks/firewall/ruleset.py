"""What our nftables table holds, as nft's text. Pure.

The rules stand; published ports are elements of maps, so that publishing one is one element,
whatever the number of containers. A network's rules are `network_chains`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.networks.firewall.network_chains import network_added
from services.networks.firewall.network_rules import FirewallPolicy, NetworkRules, PortTargets
from services.networks.ports import ANY_ADDRESSES, PublishedPort

LAYOUT: Final = "layout_2"
"""A chain without rules: a table that has it can be amended by this version."""

_TABLE: Final = """\
add table inet {table}
delete table inet {table}
table inet {table} {{
  chain {layout} {{ }}
  set bridges {{ type ifname; }}
  map pub4_any {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map pub4_ip {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
  map pub6_any {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
  map pub6_ip {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }}
  set direct4 {{ type ipv4_addr . inet_proto . inet_service; }}
  set direct6 {{ type ipv6_addr . inet_proto . inet_service; }}
  map from {{ type ifname : verdict; }}
  map into {{ type ifname : verdict; }}
  map leave {{ type ifname : verdict; }}
  map enter {{ type ifname : verdict; }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname @bridges ip daddr 127.0.0.0/8 drop
  }}
  chain publish {{
    dnat ip to ip daddr . meta l4proto . th dport map @pub4_ip
    meta nfproto ipv4 dnat ip to meta l4proto . th dport map @pub4_any
    ip6 daddr {{ ::1, fe80::/10 }} return
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @pub6_ip
    meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @pub6_any
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 return
    fib daddr type local jump publish
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump publish
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    iifname vmap @leave
    oifname vmap @enter
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname @bridges ct state established,related accept
    oifname @bridges ct state established,related accept
    iifname vmap @from
    oifname vmap @into
  }}
}}
"""
"""In `publish`: what is sent to the loopback address or a link's own of IPv6 cannot be forwarded.
In `prerouting`: a neighbour's packet to 127.0.0.1 is not made one to a container; whatever the
kernel does with such packets, it goes on to do."""

Elements = dict[str, list[str]]
"""By map or set: the text of each element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The ports of one container."""

    targets: PortTargets
    ports: tuple[PublishedPort, ...]


def whole_table(
    table: str,
    policy: FirewallPolicy,
    networks: Mapping[str, NetworkRules],
    published: Mapping[str, Publication],
) -> str:
    """Replace the table by one with these networks and ports, in one transaction.

    Without networks there is no table.
    """
    if not networks:
        return f"add table inet {table}\ndelete table inet {table}\n"
    return _TABLE.format(table=table, layout=LAYOUT) + additions(table, policy, networks, published)


def additions(
    table: str,
    policy: FirewallPolicy,
    networks: Mapping[str, NetworkRules],
    published: Mapping[str, Publication],
) -> str:
    """Have these networks and ports in a table that stands, whatever else it has."""
    text = [network_added(table, network, policy) for network in networks.values()]
    all_elements: Elements = {}
    for publication in published.values():
        for name, elements in elements_of(publication).items():
            all_elements.setdefault(name, []).extend(elements)
    return "".join(text) + _with_elements("add", table, all_elements)


def former_table_removed(table: str) -> str:
    """Up to version 0.1 the table was one of IPv4 alone."""
    return f"add table ip {table}\ndelete table ip {table}\n"


def ports_added(table: str, publication: Publication) -> str:
    """Lead a container's ports to it."""
    return _with_elements("add", table, elements_of(publication))


def ports_removed(table: str, publication: Publication) -> str:
    """Lead these ports nowhere any more."""
    elements = elements_of(publication)
    keys = {name: [text.partition(" : ")[0] for text in texts] for name, texts in elements.items()}
    return _with_elements("delete", table, keys)


def elements_of(publication: Publication) -> Elements:
    """What a container has in the maps and sets.

    A port whose address on the host is of a family that the container does not have is in none of
    them. A family that is routed has no ports on the host, and is reached directly.
    """
    found: dict[str, dict[str, None]] = {}
    for port in publication.ports:
        is_ipv6 = port.is_ipv6
        target = publication.targets.ipv6 if is_ipv6 else publication.targets.ipv4
        if target is None:
            continue
        number = 6 if is_ipv6 else 4
        direct = f"{target.address} . {port.protocol} . {port.container_port}"
        found.setdefault(f"direct{number}", {})[direct] = None
        if port.host_port and not target.is_routed:
            is_any = port.host_address in ANY_ADDRESSES
            key = f"{port.protocol} . {port.host_port}"
            key = key if is_any else f"{port.host_address} . {key}"
            name = f"pub{number}_{'any' if is_any else 'ip'}"
            found.setdefault(name, {})[f"{key} : {target.address} . {port.container_port}"] = None
    return {name: list(elements) for name, elements in found.items()}


def _with_elements(verb: str, table: str, elements: Mapping[str, Sequence[str]]) -> str:
    return "".join(
        f"{verb} element inet {table} {name} {{ {', '.join(texts)} }}\n"
        for name, texts in elements.items()
        if texts
    )
