"""Questions about names of ours, and their answers, as dnslib reads them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from services.networks.dns.answers import (
    BadQuery,
    answer,
    empty_answer,
    read_query,
    reversed_address,
)
from services.networks.dns.names import Address


class Names:
    """A view with a table."""

    def __init__(self, table: dict[str, list[str]]) -> None:
        self.table = table

    def addresses(self, name: str) -> tuple[Address, ...] | None:
        found = self.table.get(name)
        return None if found is None else tuple(ip_address(one) for one in found)

    def name_of(self, address: Address) -> str | None:
        for name, addresses in self.table.items():
            if str(address) in addresses:
                return f"{name}.net"
        return None


NAMES = Names(
    {
        "web": ["10.0.0.2", "10.0.0.3", "10.0.0.4", "fd00::2"],
        "six": ["fd00::6"],
        "four": ["10.0.0.9"],
        "many": [f"10.1.{n // 250}.{n % 250}" for n in range(1000)],
    }
)


def ask(
    name: str, kind: str = "A", *, turn: int = 0, is_tcp: bool = False, edns: int = 0
) -> DNSRecord:
    """The answer; it fails if there is none."""
    query = DNSRecord.question(name, kind)
    if edns:
        query.add_ar(EDNS0(udp_len=edns))
    found = answer(read_query(query.pack(), is_tcp=is_tcp), NAMES, turn=turn)
    assert found is not None
    reply = DNSRecord.parse(found)
    assert (reply.header.id, reply.header.qr, reply.header.ra) == (query.header.id, 1, 1)
    assert str(reply.q.qname).rstrip(".") == name.rstrip(".")
    return reply


def data(reply: DNSRecord) -> list[str]:
    assert all(record.ttl == 600 for record in reply.rr)
    return [str(record.rdata) for record in reply.rr]


def is_ours(name: str, kind: str) -> bool:
    query = DNSRecord.question(name, kind)
    return answer(read_query(query.pack(), is_tcp=False), NAMES) is not None


def test_addresses_of_the_family_that_was_asked_for() -> None:
    """All of them, with dockerd's TTL, under the name as it was written."""
    assert data(ask("web")) == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert data(ask("WEB", "AAAA")) == ["fd00::2"]


def test_each_address_has_its_turn_to_be_the_first() -> None:
    """Round robin: clients take the first."""
    firsts = [data(ask("web", turn=turn))[0] for turn in range(4)]
    assert firsts == ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.2"]


def test_the_other_family_alone_is_no_data_rather_than_no_name() -> None:
    """Or clients that ask for both would believe that the name is not there."""
    for name, kind in (("six", "A"), ("four", "AAAA"), ("web", "MX")):
        reply = ask(name, kind)
        assert (reply.header.rcode, reply.rr) == (RCODE.NOERROR, [])


def test_reverse_names_of_both_families() -> None:
    """`name.network`, as dockerd says it."""
    assert data(ask("9.0.0.10.in-addr.arpa", "PTR")) == ["four.net."]
    nibbles = ".".join(reversed(ip_address("fd00::6").exploded.replace(":", "")))
    assert data(ask(f"{nibbles}.IP6.arpa", "PTR")) == ["six.net."]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("unknown", "A"),
        ("unknown", "MX"),
        ("web", "TXT"),
        ("8.0.0.10.in-addr.arpa", "PTR"),
        ("0.0.10.in-addr.arpa", "PTR"),
        ("x.ip6.arpa", "PTR"),
        ("web", "PTR"),
        (".", "A"),
    ],
)
def test_what_others_are_to_be_asked(name: str, kind: str) -> None:
    """Names that nobody has, and kinds of records that are not ours to give."""
    assert not is_ours(name, kind)


def test_a_name_that_no_message_can_hold_is_nobodys() -> None:
    """A container may be called so; nothing breaks."""
    for name in ("x" * 64, "a..b", ".".join(["x" * 60] * 5)):
        names = Names({name: ["10.0.0.7"]})
        query = DNSRecord.question("7.0.0.10.in-addr.arpa", "PTR").pack()
        assert answer(read_query(query, is_tcp=False), names) is None


def test_an_answer_fits_what_the_client_can_take() -> None:
    """512 bytes by UDP, more if it says so by EDNS, all by TCP; what is left out is told of."""
    small, larger, whole = ask("many"), ask("many", edns=4000), ask("many", is_tcp=True)
    assert len(small.pack()) <= 512 < len(larger.pack()) <= 4000
    assert (small.header.tc, larger.header.tc, whole.header.tc) == (1, 1, 0)
    assert 20 < len(small.rr) < len(larger.rr) < len(whole.rr) == 1000
    assert [record.rtype for record in larger.ar] == [QTYPE.OPT]


def test_an_empty_answer_says_that_the_name_is_there() -> None:
    """For names that are kept back."""
    query = read_query(DNSRecord.question("web").pack(), is_tcp=False)
    reply = DNSRecord.parse(empty_answer(query))
    assert (reply.header.rcode, reply.rr, reply.header.tc) == (RCODE.NOERROR, [], 0)


def test_what_is_no_question_is_refused_or_ignored() -> None:
    """An answer to an answer could go on for ever; the rest gets a code."""
    query = DNSRecord.question("web")
    for silent in (b"", b"short", query.reply().pack()):
        with pytest.raises(BadQuery) as refused:
            read_query(silent, is_tcp=False)
        assert refused.value.answer is None
    update = bytearray(query.pack())
    update[2] |= 5 << 3
    with pytest.raises(BadQuery) as refused:
        read_query(bytes(update), is_tcp=False)
    assert refused.value.answer is not None
    assert DNSRecord.parse(refused.value.answer).header.rcode == RCODE.NOTIMP
    with pytest.raises(BadQuery) as refused:
        read_query(query.pack()[:-3], is_tcp=False)
    assert refused.value.answer is not None
    reply = DNSRecord.parse(refused.value.answer)
    assert (reply.header.rcode, reply.header.id) == (RCODE.FORMERR, query.header.id)


HEADERS = st.binary(min_size=12, max_size=12)


@given(head=HEADERS, body=st.binary(max_size=80), whole=st.booleans())
def test_no_bytes_break_it(head: bytes, body: bytes, whole: bool) -> None:
    """Whatever comes is answered, refused, ignored or left to others."""
    start = b"\0\1\1\0\0\1\0\0\0\0\0\1" if whole else head
    try:
        query = read_query(start + body, is_tcp=False)
    except BadQuery:
        return
    found = answer(query, NAMES)
    assert found is None or len(found) <= query.most_bytes


@given(
    labels=st.lists(st.binary(min_size=1, max_size=63), min_size=1, max_size=3),
    kind=st.integers(0, 65535),
)
def test_no_name_breaks_it(labels: list[bytes], kind: int) -> None:
    """Labels may hold any bytes, also dots."""
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    query = b"\0\1\1\0\0\1\0\0\0\0\0\0" + name + kind.to_bytes(2, "big") + b"\0\1"
    answer(read_query(query, is_tcp=False), NAMES)


@given(address=st.ip_addresses())
def test_reverse_names_are_read_back(address: Address) -> None:
    """Of every address, as the standard library writes them."""
    assert reversed_address(address.reverse_pointer) == address
