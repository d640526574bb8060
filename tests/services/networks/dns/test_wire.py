"""Messages as bytes, against what dnslib makes of them."""

from __future__ import annotations

import pytest
from dnslib import EDNS0, MX, QTYPE, RR, SOA, A, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from services.networks.dns import wire


def full_message() -> DNSRecord:
    message = DNSRecord.question("Web.Example").reply()
    message.add_answer(RR("web.example", QTYPE.A, ttl=5, rdata=A("10.0.0.1")))
    message.add_answer(RR("web.example", QTYPE.MX, ttl=6, rdata=MX("mail.example", 10)))
    message.add_auth(RR("example", QTYPE.SOA, ttl=7, rdata=SOA("a.b", "c.d", (1, 2, 3, 4, 99))))
    message.add_ar(RR("mail.example", QTYPE.A, ttl=8, rdata=A("10.0.0.2")))
    message.add_ar(EDNS0(udp_len=1232))
    return message


def test_records_are_found_with_their_ttls() -> None:
    """Through compressed names, in all sections."""
    packed = full_message().pack()
    found = list(wire.records(packed))
    assert [(one.section, one.type) for one in found] == [(0, 1), (0, 15), (1, 6), (2, 1), (2, 41)]
    assert [one.ttl for one in found[:4]] == [5, 6, 7, 8]
    assert all(int.from_bytes(packed[o.ttl_at : o.ttl_at + 4], "big") == o.ttl for o in found[:4])
    assert wire.soa_minimum(packed, found[2]) == 99
    assert found[-1].end == len(packed)


def test_a_question_is_the_same_whatever_its_case() -> None:
    """So an answer that repeats it otherwise is still one to it."""
    one, other = DNSRecord.question("Web.x").pack(), DNSRecord.question("wEB.x").pack()
    assert wire.question_of(one) == wire.question_of(other)
    assert wire.question_of(one) != wire.question_of(DNSRecord.question("web.x", "AAAA").pack())


def test_ids_are_replaced_and_nothing_else() -> None:
    """The rest stays byte for byte."""
    packed = full_message().pack()
    changed = wire.with_id(packed, 0xABCD)
    assert (wire.id_of(changed), changed[2:]) == (0xABCD, packed[2:])


def test_a_refusal_repeats_the_question_with_a_code() -> None:
    """And what the client said of recursion."""
    query = DNSRecord.question("Web.x")
    reply = DNSRecord.parse(wire.refusal(query.pack(), wire.REFUSED))
    assert (reply.header.rcode, reply.header.qr, reply.header.rd, reply.header.ra) == (5, 1, 1, 1)
    assert (reply.header.id, str(reply.q.qname)) == (query.header.id, "Web.x.")


def test_a_ttl_beyond_31_bits_is_none() -> None:
    """RFC 2181: to be taken for 0."""
    message = DNSRecord.question("a.b").reply()
    message.add_answer(RR("a.b", QTYPE.A, ttl=1 << 31, rdata=A("10.0.0.1")))
    assert [one.ttl for one in wire.records(message.pack())] == [0]


@given(cut=st.integers(0, 200))
def test_a_message_that_is_cut_off_is_malformed(cut: int) -> None:
    """Wherever it ends."""
    packed = full_message().pack()
    if cut < len(packed):
        with pytest.raises(wire.Malformed):
            list(wire.records(packed[:cut]))


@given(data=st.binary(max_size=120))
def test_no_bytes_break_it(data: bytes) -> None:
    """They are a message, or malformed."""
    for call in (lambda: list(wire.records(data)), lambda: wire.question_of(data)):
        try:
            call()
        except wire.Malformed:
            continue
    if len(data) >= wire.HEADER_BYTES:
        wire.refusal(data, wire.SERVFAIL)
