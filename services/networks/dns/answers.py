"""Questions about names that are ours, and their answers. No I/O.

Source: moby, daemon/libnetwork/resolver.go: a TTL of 600 s; a name that is known but has no address
of the family asked for is answered with nothing rather than passed on; so are questions for the
mail servers of a known name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Protocol

from services.networks.dns import wire
from services.networks.dns.names import Address

TTL_S: Final = 600

_V4_ZONE: Final = ".in-addr.arpa"
_V6_ZONE: Final = ".ip6.arpa"


class BadQuery(Exception):
    """Nothing to look for. `answer` is what the client is told, None if it is told nothing."""

    def __init__(self, answer: bytes | None) -> None:
        super().__init__("bad query")
        self.answer = answer


class View(Protocol):
    """The names that one container sees."""

    def addresses(self, name: str) -> tuple[Address, ...] | None:
        """Of both families; None if nobody is called so."""

    def name_of(self, address: Address) -> str | None:
        """Who has an address."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question as it came. `most_bytes` is the longest answer that the client can take."""

    data: bytes
    name: str
    type: int
    has_edns: bool
    most_bytes: int


def read_query(data: bytes, *, is_tcp: bool) -> Query:
    """What a client asks.

    Raises:
        BadQuery: it does not ask.
    """
    if len(data) < wire.HEADER_BYTES or wire.is_answer(data):
        raise BadQuery(None)  # an answer to it might be answered in turn
    if data[2] & 0x78:
        raise BadQuery(wire.refusal(data, wire.NOTIMP))
    try:
        name, kind = wire.asked_for(data)
        options = [one for one in wire.records(data) if one.type == wire.OPT]
    except wire.Malformed as error:
        raise BadQuery(wire.refusal(data, wire.FORMERR)) from error
    sizes = (wire.SMALLEST_UDP, *(one.class_ for one in options))  # RFC 6891 section 6.1.2
    most_bytes = wire.LARGEST if is_tcp else max(sizes)
    return Query(data, name, kind, bool(options), most_bytes)


def answer(query: Query, view: View, *, turn: int = 0) -> bytes | None:
    """The answer, if the name is ours to give; None if others are to be asked.

    `turn` says which of several addresses comes first.
    """
    match query.type:
        case wire.A | wire.AAAA:
            found = view.addresses(query.name)
            if found is None:
                return None
            kind = IPv4Address if query.type == wire.A else IPv6Address
            data = [(query.type, one.packed) for one in found if isinstance(one, kind)]
            first = turn % len(data) if data else 0
            return _packed(query, data[first:] + data[:first])
        case wire.PTR:
            address = reversed_address(query.name)
            name = view.name_of(address) if address is not None else None
            encoded = wire.encoded_name(name) if name is not None else None
            return None if encoded is None else _packed(query, [(wire.PTR, encoded)])
        case wire.MX:  # mail goes to the address itself
            return None if view.addresses(query.name) is None else _packed(query, [])
        case _:
            return None


def empty_answer(query: Query) -> bytes:
    """The name is there, with nothing that was asked for."""
    return _packed(query, [])


def reversed_address(name: str) -> Address | None:
    """The address that a name of the reverse zones stands for; None if it does not."""
    try:
        if name.endswith(_V4_ZONE):
            return IPv4Address(".".join(reversed(name[: -len(_V4_ZONE)].split("."))))
        if name.endswith(_V6_ZONE):
            digits = name[: -len(_V6_ZONE)].split(".")
            if len(digits) == 32 and all(len(digit) == 1 for digit in digits):
                return IPv6Address(int("".join(reversed(digits)), 16))
    except ValueError:
        return None
    return None


def _packed(query: Query, data: Sequence[tuple[int, bytes]]) -> bytes:
    """As many of the records as the client can take; if not all, it is told so."""
    count = len(data)
    while True:
        is_cut = count < len(data)
        packed = wire.reply(query.data, data[:count], ttl_s=TTL_S, is_cut=is_cut)
        if query.has_edns:
            packed = wire.with_edns(packed, query.most_bytes)
        if len(packed) <= query.most_bytes or not count:
            return packed
        count = max(count * query.most_bytes // len(packed) - 1, 0)
