"""Rules of other tools that drop what ours let through, read from nft's text. Pure.

A packet must pass every tool's rules. The one case in which another's can be opened safely is the
policy of iptables' own chain FORWARD, which dockerd and ufw set to DROP: a rule at its end comes
after all that the tool itself has to say of a packet, and is the same as not having the policy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_TABLE: Final = re.compile(r"table (\S+) (\S+) \{")
_CHAIN: Final = re.compile(r"\tchain (\S+) \{")
_DROPS: Final = re.compile(r"\t\ttype filter hook forward priority .*; policy drop;")
_RULE: Final = re.compile(
    r'\t\t(oifname|iifname) "([^"]+)" .*accept comment "([^"]*)" # handle (\d+)'
)
DIRECTIONS: Final = ("oifname", "iifname")


@dataclass(frozen=True, slots=True, order=True)
class ForeignChain:
    """A chain that all that is forwarded passes, and that drops what it does not know."""

    family: str
    table: str
    name: str

    @property
    def is_iptables(self) -> bool:
        """Whether iptables made it, and shows what is in it: `iptables -S FORWARD`."""
        return self.family in ("ip", "ip6") and (self.table, self.name) == ("filter", "FORWARD")

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"


@dataclass(frozen=True, slots=True)
class Opening:
    """A rule of ours in there: what leaves by the bridge (oifname), or comes in by it."""

    direction: str
    bridge: str
    handle: int


def dropping_chains(listing: str) -> list[ForeignChain]:
    """The chains of `list chains` whose policy drops what is forwarded. Ours have none."""
    found = []
    family = table = name = ""
    for line in listing.splitlines():
        if (match := _TABLE.match(line)) is not None:
            family, table = match[1], match[2]
        elif (match := _CHAIN.match(line)) is not None:
            name = match[1]
        elif _DROPS.match(line) and family in ("ip", "ip6", "inet"):
            found.append(ForeignChain(family, table, name))
    return found


def openings(listing: str, comment: str) -> list[Opening]:
    """Our rules in `list chain` of such a chain, told from others' by the comment."""
    return [
        Opening(match[1], match[2], int(match[4]))
        for match in map(_RULE.match, listing.splitlines())
        if match is not None and match[3] == comment
    ]


def reopened(
    chain: ForeignChain, present: Iterable[Opening], bridges: Collection[str], comment: str
) -> str:
    """Have openings for these bridges and no others; "" if it is so already."""
    present = list(present)
    there = {(opening.direction, opening.bridge) for opening in present}
    lines = [
        *_closed(chain, [opening for opening in present if opening.bridge not in bridges]),
        *(
            f'add rule {chain} {direction} "{bridge}" counter accept comment "{comment}"'
            for bridge in sorted(bridges)
            for direction in DIRECTIONS
            if (direction, bridge) not in there
        ),
    ]
    return "".join(f"{line}\n" for line in lines)


def _closed(chain: ForeignChain, some: Iterable[Opening]) -> Iterator[str]:
    yield from (f"delete rule {chain} handle {opening.handle}" for opening in some)
