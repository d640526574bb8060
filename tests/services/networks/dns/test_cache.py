"""What others have answered is kept as long as they allow, and no longer; and not without bound."""

from __future__ import annotations

from dnslib import QTYPE, RR, A, DNSRecord

from services.networks.dns.cache import LARGEST_ANSWER, LONGEST_S, Cache
from tests.support.resolver import absent, failed, found


def ask(name: str = "a.test") -> DNSRecord:
    return DNSRecord.question(name)


def ttl(message: bytes | None) -> int | None:
    return None if message is None else DNSRecord.parse(message).rr[0].ttl


def test_an_answer_ages_and_ends() -> None:
    """Its TTL is what is left of it."""
    cache = Cache()
    cache.put("k", found(ask(), "10.0.0.1", ttl=30).pack(), 100.0)
    assert ttl(cache.get("k", 100.0)) == 30
    assert ttl(cache.get("k", 129.5)) == 1
    assert cache.get("k", 130.0) is None
    assert cache.cost_bytes == 0


def test_the_shortest_ttl_holds_and_none_holds_for_ever() -> None:
    """Of the answer's records; a very long one is cut."""
    cache = Cache()
    message = found(ask(), "10.0.0.1", ttl=10)
    message.add_answer(RR("a.test", QTYPE.A, ttl=900000, rdata=A("10.0.0.2")))
    cache.put("short", message.pack(), 0.0)
    assert cache.get("short", 9.0) is not None
    assert cache.get("short", 10.0) is None
    cache.put("long", found(ask(), "10.0.0.1", ttl=900000).pack(), 0.0)
    assert cache.get("long", LONGEST_S - 1.0) is not None
    assert cache.get("long", LONGEST_S) is None


def test_absence_is_believed_for_the_soa_s_minimum() -> None:
    """And not at all without a SOA."""
    cache = Cache()
    cache.put("k", absent(ask(), minimum=20).pack(), 0.0)
    assert cache.get("k", 19.0) is not None
    assert cache.get("k", 20.0) is None
    bare = absent(ask())
    bare.auth = []
    cache.put("bare", bare.pack(), 0.0)
    assert cache.get("bare", 0.0) is None
    empty = found(ask())
    cache.put("empty", empty.pack(), 0.0)
    assert cache.get("empty", 0.0) is None


def test_what_may_change_at_once_is_not_kept() -> None:
    """Failures, what is cut off, a TTL of 0, what is no message, and what is very large."""
    cache = Cache()
    cut = found(ask(), "10.0.0.1")
    cut.header.tc = 1
    large = found(ask(), *["10.0.0.1"] * 300)
    assert len(large.pack()) > LARGEST_ANSWER
    messages = [failed(ask()).pack(), cut.pack(), found(ask(), "10.0.0.1", ttl=0).pack()]
    for message in (*messages, b"\0" * 5, found(ask(), "10.0.0.1").pack()[:-1], large.pack()):
        cache.put("k", message, 0.0)
        assert cache.get("k", 0.0) is None
    assert cache.cost_bytes == 0


def test_it_is_bounded_and_what_was_not_asked_for_goes_first() -> None:
    """However many names are asked for."""
    cache = Cache(most_bytes=20_000)
    message = found(ask(), "10.0.0.1", ttl=600).pack()
    cache.put("wanted", message, 0.0)
    for number in range(1000):
        cache.put(number, message, 0.0)
        assert cache.cost_bytes <= 20_000
        assert cache.get("wanted", 1.0) is not None
    assert cache.get(999, 1.0) is not None
    assert cache.get(0, 1.0) is None


def test_an_answer_is_replaced_by_a_newer_one() -> None:
    """And counted once."""
    cache = Cache()
    for address in ("10.0.0.1", "10.0.0.2"):
        cache.put("k", found(ask(), address).pack(), 0.0)
    once = cache.cost_bytes
    kept = cache.get("k", 0.0)
    assert kept is not None
    assert str(DNSRecord.parse(kept).rr[0].rdata) == "10.0.0.2"
    cache.put("k", found(ask(), "10.0.0.3").pack(), 0.0)
    assert cache.cost_bytes == once
