"""The rules of one network, as nft's text. Pure.

Each network has four chains. A map leads to each by the name of the bridge, so that a packet meets
the rules of its own networks only:

- `from`: what its containers send elsewhere is forwarded
- `into`: what others send to its containers is forwarded
- `leave`, `enter`: the same two, when addresses are translated at the end of the way
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from services.networks.firewall.network_rules import (
    FamilyRules,
    FirewallPolicy,
    GatewayMode,
    NetworkRules,
)

KINDS: Final = ("from", "into", "leave", "enter")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]+\Z", re.ASCII)


def network_added(table: str, network: NetworkRules, policy: FirewallPolicy) -> str:
    """Have a network's rules in a table that stands; those that it had are replaced."""
    bridge = network.bridge
    rules = {
        "from": _from(network),
        "into": _into(network, policy),
        "leave": _leave(network),
        "enter": _enter(network),
    }
    lines = [f'add element inet {table} bridges {{ "{bridge}" }}']
    for kind, texts in rules.items():
        chain = chain_name(kind, bridge)
        lines += [f"add chain inet {table} {chain}", f"flush chain inet {table} {chain}"]
        lines += [f"add rule inet {table} {chain} {text}" for text in texts]
        lines.append(f'add element inet {table} {kind} {{ "{bridge}" : jump {chain} }}')
    return "\n".join(lines) + "\n"


def network_removed(table: str, bridge: str) -> str:
    """Have them no more."""
    lines = [f'delete element inet {table} bridges {{ "{bridge}" }}']
    for kind in KINDS:
        chain = chain_name(kind, bridge)
        lines += [
            f'delete element inet {table} {kind} {{ "{bridge}" }}',
            f"delete chain inet {table} {chain}",
        ]
    return "\n".join(lines) + "\n"


def chain_name(kind: str, bridge: str) -> str:
    """A link may have a name that no chain can have."""
    return f"{kind}__{bridge}" if _PLAIN.match(bridge) else f"{kind}_x{bridge.encode().hex()}"


def _from(network: NetworkRules) -> Iterator[str]:
    if network.internal:
        yield f'oifname != "{network.bridge}" drop'
    for name, family in _families(network):
        if family.mode is GatewayMode.ISOLATED:
            yield f'meta nfproto {name} oifname != "{network.bridge}" drop'


def _into(network: NetworkRules, policy: FirewallPolicy) -> Iterator[str]:
    bridge = network.bridge
    if network.internal:
        yield f'iifname != "{bridge}" drop'
    yield "ct status dnat accept"  # first: a published port is open to those beside it, too
    yield f'iifname "{bridge}" {"accept" if network.icc else "drop"}'
    if policy.accept_mark is not None:
        mark, mask = policy.accept_mark
        yield f"meta mark & {mask:#x} == {mark:#x} accept"
    for name, family in _families(network):
        yield from _direct(name, family, network, policy)
    yield "drop"


def _direct(
    name: str, family: FamilyRules, network: NetworkRules, policy: FirewallPolicy
) -> Iterator[str]:
    """Who may send to containers' own addresses."""
    is_ipv6 = name == "ipv6"
    ip, number = ("ip6", 6) if is_ipv6 else ("ip", 4)
    published = f"{ip} daddr . meta l4proto . th dport @direct{number} accept"
    match family.mode:
        case GatewayMode.NAT_UNPROTECTED:
            yield f"meta nfproto {name} accept"
        case GatewayMode.ROUTED:
            yield f"meta nfproto {name} meta l4proto {'ipv6-icmp' if is_ipv6 else 'icmp'} accept"
            yield published
        case GatewayMode.NAT if policy.allow_direct_routing:
            yield published
        case GatewayMode.NAT if network.trusted_interfaces:
            links = ", ".join(f'"{link}"' for link in network.trusted_interfaces)
            yield f"iifname {{ {links} }} {published}"
        case GatewayMode.NAT | GatewayMode.ISOLATED:
            pass


def _leave(network: NetworkRules) -> Iterator[str]:
    for name, family in _families(network):
        if network.internal or not family.masquerade or not family.is_translated:
            continue
        ip = "ip6" if name == "ipv6" else "ip"
        how = f"snat {ip} to {family.host_address}" if family.host_address else "masquerade"
        yield f'{ip} saddr {family.subnet} oifname != "{network.bridge}" {how}'


def _enter(network: NetworkRules) -> Iterator[str]:
    """From the host's 127.0.0.1, and from a container to one beside it by a published port.

    `iifname` is of no use for the second: what is bridged has none here.
    """
    for name, family in _families(network):
        ip = "ip6" if name == "ipv6" else "ip"
        if ip == "ip":
            yield "ip saddr 127.0.0.0/8 masquerade"
        yield f"{ip} saddr {family.subnet} ct status dnat masquerade"


def _families(network: NetworkRules) -> Iterator[tuple[str, FamilyRules]]:
    if network.ipv4 is not None:
        yield "ipv4", network.ipv4
    if network.ipv6 is not None:
        yield "ipv6", network.ipv6
