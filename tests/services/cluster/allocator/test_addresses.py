"""Addresses of a network, whatever is taken and given back."""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from services.cluster.allocator.addresses import AddressBook
from services.cluster.model.objects import VxlanNetwork


@settings(max_examples=100, deadline=None)
@given(st.integers(26, 30), st.lists(st.integers(-1, 40), max_size=120))
def test_no_address_is_given_while_it_is_held(prefix: int, acts: list[int]) -> None:
    """-1 takes one, another number gives back one of those held. Full is full, and not before."""
    subnet = ipaddress.ip_network(f"10.0.0.0/{prefix}")
    book = AddressBook([VxlanNetwork(subnet=str(subnet), gateway="10.0.0.1")])
    room = subnet.num_addresses - 3
    held: list[str] = []
    for act in acts:
        if act < 0:
            taken = book.take()
            assert (taken is None) == (len(held) == room)
            if taken:
                assert taken[0] not in held
                held.extend(taken)
        elif act < len(held):
            book.release(held.pop(act))
    for spelled in held:
        at = ipaddress.ip_interface(spelled).ip
        assert at in subnet
        assert at not in (subnet.network_address, subnet.network_address + 1)
        assert at != subnet.broadcast_address


def test_each_version_has_an_address() -> None:
    book = AddressBook(
        [
            VxlanNetwork(subnet="10.0.0.0/30", gateway="10.0.0.1"),
            VxlanNetwork(subnet="fd00::/64", gateway="fd00::1"),
        ]
    )
    assert book.take() == ["10.0.0.2/30", "fd00::2/64"]
    assert book.take() is None, "one version without the other is no address"
    book.release("10.0.0.2/30")
    assert book.take() == ["10.0.0.2/30", "fd00::3/64"]


def test_a_second_subnet_of_a_version_is_used_when_the_first_is_full() -> None:
    book = AddressBook(
        [
            VxlanNetwork(subnet="10.0.0.0/30", gateway="10.0.0.1"),
            VxlanNetwork(subnet="10.0.8.0/24", gateway="10.0.8.1", ip_range="10.0.8.128/25"),
        ]
    )
    assert [book.take() for _ in range(2)] == [["10.0.0.2/30"], ["10.0.8.128/24"]]


def test_addresses_that_somebody_asks_for() -> None:
    """They are given if they are free, with one of the other version; else nothing is taken."""
    book = AddressBook(
        [
            VxlanNetwork(subnet="10.0.0.0/29", gateway="10.0.0.1"),
            VxlanNetwork(subnet="fd00::/64", gateway="fd00::1"),
        ]
    )
    assert book.take_asked(["10.0.0.4"]) == ["10.0.0.4/29", "fd00::2/64"]
    for taken in ("10.0.0.4", "10.0.0.1", "10.0.0.7", "10.9.0.4"):
        assert book.take_asked([taken]) is None
    assert book.take_asked(["fd00::9", "10.0.0.5"]) == ["fd00::9/64", "10.0.0.5/29"]
    book.release("10.0.0.4/29")
    assert book.take_asked(["10.0.0.4", "fd00::4"]) == ["10.0.0.4/29", "fd00::4/64"]
