"""The rules that share connections out among a service's tasks, as nft's text. Pure.

They stand in the namespace where the connections begin: a container's own, for the addresses of
services, or the ingress namespace, for published ports. A key (an address, or protocol and port)
leads by a map to a chain of its own, which chooses a target for each new connection. What was
chosen holds for the connection's life, whatever becomes of the chain.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Targets = Mapping[str, tuple[str, ...]]
"""By key: what it leads to, nothing if nobody is there. Keys and targets are in nft's spelling."""

_UNFIT: Final = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Kind:
    """A table of balanced keys: its name, and what stands in it besides the keys' chains.

    `refuses`: who connects to a key without a target is told at once that nobody is there.
    """

    table: str
    layout: str
    refuses: bool


SERVICES: Final = Kind(
    table="wharfinger-services",
    layout="""\
  map keys { type ipv4_addr : verdict; }
  set empty { type ipv4_addr; }
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr vmap @keys
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr vmap @keys
  }
  chain refuse {
    type filter hook output priority filter; policy accept;
    ip daddr @empty meta l4proto tcp reject with tcp reset
    ip daddr @empty reject
  }
""",
    refuses=True,
)
"""In a container's namespace, by a service's address. What is led elsewhere keeps its sender."""

INGRESS: Final = Kind(
    table="wharfinger-ingress",
    layout="""\
  map keys { type inet_proto . inet_service : verdict; }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local meta l4proto . th dport vmap @keys
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat masquerade
  }
""",
    refuses=False,
)
"""In the ingress namespace, by published port. Tasks answer to that namespace: without its address
as the sender's they would answer by their own way out."""


def whole_table(kind: Kind, targets: Targets, *, client: str) -> str:
    """Replace the table by one that leads to these targets, in one transaction."""
    table = kind.table
    head = f"add table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n{kind.layout}}}\n"
    return head + changes(kind, {}, targets, client=client)


def changes(kind: Kind, before: Targets, after: Targets, *, client: str) -> str:
    """What leads to `after` where the table leads to `before`; "" for nothing.

    `client` is whose connections they are: each begins with another target, or all their first
    connections would meet at one.
    """
    lines: list[str] = []
    for key, found in after.items():
        if key not in before:
            lines += _added(kind, key, found, client)
        elif before[key] != found:
            lines += _changed(kind, key, before[key], found, client)
    for key in before.keys() - after.keys():
        lines += _removed(kind, key, before[key])
    return "".join(f"{line}\n" for line in lines)


def lost_targets(before: Targets, after: Targets) -> frozenset[str]:
    """The keys of which some flows may go to where nobody is to be any more, or went nowhere."""
    return frozenset(
        key for key, found in before.items() if not found or set(found) - set(after.get(key, ()))
    )


def _added(kind: Kind, key: str, found: Sequence[str], client: str) -> list[str]:
    table, chain = kind.table, _chain(key)
    return [
        f"add chain ip {table} {chain}",
        *_rule(kind, key, found, client),
        f"add element ip {table} keys {{ {key} : jump {chain} }}",
        *_emptiness(kind, "add", key, found),
    ]


def _changed(
    kind: Kind, key: str, before: Sequence[str], found: Sequence[str], client: str
) -> list[str]:
    chain = _chain(key)
    lines = [f"flush chain ip {kind.table} {chain}", *_rule(kind, key, found, client)]
    if bool(before) != bool(found):
        lines += _emptiness(kind, "delete" if found else "add", key, ())
    return lines


def _removed(kind: Kind, key: str, before: Sequence[str]) -> list[str]:
    return [
        *_emptiness(kind, "delete", key, before),
        f"delete element ip {kind.table} keys {{ {key} }}",
        f"delete chain ip {kind.table} {_chain(key)}",
    ]


def _rule(kind: Kind, key: str, found: Sequence[str], client: str) -> list[str]:
    if not found:
        return []
    first = zlib.crc32(client.encode()) % len(found)
    turned = [*found[first:], *found[:first]]
    shares = ", ".join(f"{number} : {target}" for number, target in enumerate(turned))
    choice = f"numgen inc mod {len(turned)} map {{ {shares} }}"
    protocol, dot, _ = key.partition(" . ")
    match = f"meta l4proto {protocol} " if dot else ""  # nft wants it where ports are translated
    return [f"add rule ip {kind.table} {_chain(key)} {match}dnat ip to {choice}"]


def _emptiness(kind: Kind, verb: str, key: str, found: Sequence[str]) -> list[str]:
    if found or not kind.refuses:
        return []
    return [f"{verb} element ip {kind.table} empty {{ {key} }}"]


def _chain(key: str) -> str:
    return "to_" + _UNFIT.sub("_", key)
