"""What our nftables table holds, as nft's text. Pure.

The rules stand; published ports are elements of two maps, so that publishing one is one element,
whatever the number of containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from services.networks.ports import ANY_ADDRESS, PublishedPort

Published = Mapping[str, tuple[str, tuple[PublishedPort, ...]]]
"""By container: its address, and its ports."""

_TABLE: Final = """\
add table ip {table}
delete table ip {table}
table ip {table} {{
  map pub_any {{
    type inet_proto . inet_service : ipv4_addr . inet_service
  }}
  map pub_ip {{
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
  }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{bridge}" ip daddr 127.0.0.0/8 drop
  }}
  chain publish {{
    dnat ip to ip daddr . meta l4proto . th dport map @pub_ip
    dnat ip to meta l4proto . th dport map @pub_any
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump publish
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump publish
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    {masquerade}
    ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade
    ip saddr {subnet} oifname "{bridge}" ct status dnat masquerade
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname "{bridge}" ct state established,related accept
    oifname "{bridge}" ct status dnat accept
    iifname "{bridge}" accept
    oifname "{bridge}" drop
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRules:
    """What the rules say of the bridge."""

    table: str
    bridge: str
    subnet: IPv4Network
    masquerade: bool


def whole_table(rules: BridgeRules, published: Published) -> str:
    """Replace the table by one with these ports, in one transaction."""
    way_out = f'ip saddr {rules.subnet} oifname != "{rules.bridge}" masquerade'
    text = _TABLE.format(
        table=rules.table,
        bridge=rules.bridge,
        subnet=rules.subnet,
        masquerade=way_out if rules.masquerade else "",
    )
    return text + "".join(added(rules, *entry) for entry in published.values())


def added(rules: BridgeRules, address: str, ports: Iterable[PublishedPort]) -> str:
    """Lead a container's ports to it."""
    return _elements("add", rules, ports, address)


def removed(rules: BridgeRules, ports: Iterable[PublishedPort]) -> str:
    """Lead these ports nowhere any more."""
    return _elements("delete", rules, ports)


def _elements(verb: str, rules: BridgeRules, ports: Iterable[PublishedPort], to: str = "") -> str:
    elements: dict[str, list[str]] = {"pub_any": [], "pub_ip": []}
    for port in ports:
        is_any = port.host_address == ANY_ADDRESS
        key = f"{port.protocol} . {port.host_port}"
        text = key if is_any else f"{port.host_address} . {key}"
        text += f" : {to} . {port.container_port}" if to else ""
        elements["pub_any" if is_any else "pub_ip"].append(text)
    return "".join(
        f"{verb} element ip {rules.table} {name} {{ {', '.join(texts)} }}\n"
        for name, texts in elements.items()
        if texts
    )
