"""Addresses of a subnet: each is handed out once, and reserved ones never."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import Conflict, InvalidParameter
from services.networks.ipam import DEFAULT_POOLS, AddressPool, first_free_pool


def pool(subnet: str = "10.9.0.0/29", allowed: str | None = None) -> AddressPool:
    network = IPv4Network(subnet)
    return AddressPool(
        network, gateway=network[1], allowed=IPv4Network(allowed) if allowed else None
    )


def test_addresses_are_handed_out_in_order_after_the_gateway() -> None:
    """The first container gets .2, as under Docker."""
    addresses = pool()
    assert [str(addresses.take_free()) for _ in range(3)] == ["10.9.0.2", "10.9.0.3", "10.9.0.4"]


def test_a_returned_address_is_reused_last() -> None:
    """Peers that still remember an address are not surprised at once."""
    addresses = pool()
    first = addresses.take_free()
    addresses.take_free()
    addresses.give_back(first)
    assert addresses.take_free() == IPv4Address("10.9.0.4")


def test_an_exhausted_pool_refuses() -> None:
    """Five usable addresses beside network, broadcast and gateway, then Docker's error."""
    addresses = pool()
    for _ in range(5):
        addresses.take_free()
    with pytest.raises(Conflict, match="no available IPv4 addresses"):
        addresses.take_free()


def test_a_wanted_address_is_taken_once() -> None:
    """A second container cannot have it, and a foreign one is refused."""
    addresses = pool()
    addresses.take(IPv4Address("10.9.0.5"))
    with pytest.raises(Conflict, match="Address already in use"):
        addresses.take(IPv4Address("10.9.0.5"))
    with pytest.raises(InvalidParameter, match="does not belong"):
        addresses.take(IPv4Address("10.8.0.5"))


def test_only_the_allowed_part_is_handed_out() -> None:
    """--fixed-cidr limits what containers get."""
    addresses = pool("10.9.0.0/24", "10.9.0.128/30")
    got = {str(addresses.take_free()) for _ in range(4)}
    assert got == {"10.9.0.128", "10.9.0.129", "10.9.0.130", "10.9.0.131"}


def test_the_gateway_is_never_given_back() -> None:
    """Releasing it by mistake frees nothing."""
    addresses = pool()
    addresses.give_back(addresses.gateway)
    assert addresses.gateway not in {addresses.take_free() for _ in range(5)}


@given(st.lists(st.booleans(), max_size=60))
def test_no_address_is_ever_out_twice(takes: list[bool]) -> None:
    """Whatever the order of taking and giving back."""
    addresses = pool("10.9.0.0/28")
    out: list[IPv4Address] = []
    for take in takes:
        if take:
            try:
                address = addresses.take_free()
            except Conflict:
                assert len(out) == 13
                continue
            assert address not in out
            out.append(address)
        elif out:
            addresses.give_back(out.pop(0))


def test_a_pool_that_overlaps_a_route_is_passed_over() -> None:
    """The default route overlaps everything and does not count."""
    routes = [IPv4Network("0.0.0.0/0"), IPv4Network("172.17.4.0/24")]
    assert first_free_pool(routes) == IPv4Network("172.18.0.0/16")
    with pytest.raises(Conflict, match="non-overlapping"):
        first_free_pool(DEFAULT_POOLS)
