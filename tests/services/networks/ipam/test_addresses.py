"""Addresses of a subnet: each is handed out once, and reserved ones never."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import EngineError, Forbidden, InvalidParameter
from services.networks.ipam.addresses import (
    REMEMBERED,
    AddressPool,
    NetworkAddresses,
    PoolExhausted,
)
from services.networks.model import Address, Network, Subnet


def pool(subnet: str = "10.9.0.0/29", allowed: str | None = None) -> AddressPool:
    network = IPv4Network(subnet)
    return AddressPool(
        network, gateway=network[1], allowed=IPv4Network(allowed) if allowed else None
    )


def addresses(*subnets: Subnet) -> NetworkAddresses:
    return NetworkAddresses(Network(id="i" * 64, name="n", driver="bridge", subnets=list(subnets)))


def test_addresses_are_handed_out_in_order_after_the_gateway() -> None:
    """The first container gets .2, as under Docker."""
    own = pool()
    assert [str(own.take_free()) for _ in range(3)] == ["10.9.0.2", "10.9.0.3", "10.9.0.4"]


def test_a_returned_address_is_reused_last() -> None:
    """Peers that still remember an address are not surprised at once."""
    own = pool()
    first = own.take_free()
    own.take_free()
    own.give_back(first)
    assert own.take_free() == IPv4Address("10.9.0.4")


def test_an_exhausted_pool_refuses() -> None:
    """Five usable addresses beside network, broadcast and gateway."""
    own = pool()
    for _ in range(5):
        own.take_free()
    assert own.available == 0
    with pytest.raises(PoolExhausted):
        own.take_free()


def test_a_wanted_address_is_taken_once() -> None:
    """A second container cannot have it, and a foreign one is refused."""
    own = pool()
    own.take(IPv4Address("10.9.0.5"))
    with pytest.raises(Forbidden, match="Address already in use"):
        own.take(IPv4Address("10.9.0.5"))
    with pytest.raises(InvalidParameter, match="does not belong"):
        own.take(IPv4Address("10.8.0.5"))


def test_only_the_allowed_part_is_handed_out() -> None:
    """--fixed-cidr and --ip-range limit what containers get."""
    own = pool("10.9.0.0/24", "10.9.0.128/30")
    got = {str(own.take_free()) for _ in range(4)}
    assert got == {"10.9.0.128", "10.9.0.129", "10.9.0.130", "10.9.0.131"}


def test_the_gateway_is_never_given_back() -> None:
    """Releasing it by mistake frees nothing."""
    own = pool()
    assert own.gateway is not None
    own.give_back(own.gateway)
    assert own.gateway not in {own.take_free() for _ in range(5)}


def test_a_link_between_two_has_two_addresses() -> None:
    """RFC 3021; a /32 has one."""
    both = AddressPool(IPv4Network("10.9.0.0/31"))
    assert [str(both.take_free()) for _ in range(2)] == ["10.9.0.0", "10.9.0.1"]
    assert str(AddressPool(IPv4Network("10.9.0.7/32")).take_free()) == "10.9.0.7"


def test_ipv6_has_no_broadcast() -> None:
    """The first address is the routers'; the last is like any other."""
    own = AddressPool(IPv6Network("fd00::/126"))
    assert [str(own.take_free()) for _ in range(3)] == ["fd00::1", "fd00::2", "fd00::3"]


@given(
    takes=st.lists(st.booleans(), max_size=60),
    subnet=st.sampled_from(["10.9.0.0/28", "fd00::/124"]),
)
def test_no_address_is_ever_out_twice(takes: list[bool], subnet: str) -> None:
    """Whatever the order of taking and giving back."""
    network = IPv4Network(subnet) if "." in subnet else IPv6Network(subnet)
    own = AddressPool(network, gateway=network[1])
    size = 13 if network.version == 4 else 14
    out: list[Address] = []
    for take in takes:
        if take:
            try:
                address = own.take_free()
            except PoolExhausted:
                assert len(out) == size
                continue
            assert address not in out
            assert address in network
            out.append(address)
        elif out:
            own.give_back(out.pop(0))
        assert (own.in_use, own.available) == (16 - size + len(out), size - len(out))
        assert set(own.handed_out) == set(out)


def test_auxiliary_addresses_belong_to_others() -> None:
    """They are never handed out, nor given back."""
    own = addresses(
        Subnet(subnet="10.9.0.0/29", gateway="10.9.0.1", auxiliary={"router": "10.9.0.2"})
    )
    own.give_back(IPv4Address("10.9.0.2"))
    assert str(own.take(4, None)[0]) == "10.9.0.3"
    with pytest.raises(Forbidden):
        own.take(4, IPv4Address("10.9.0.2"))


def test_the_next_subnet_is_used_when_one_is_full() -> None:
    """Then dockerd's error, which names the network."""
    own = addresses(Subnet(subnet="10.9.0.0/31"), Subnet(subnet="10.9.1.0/31"))
    got = [str(own.take(4, None)[0]) for _ in range(4)]
    assert got == ["10.9.0.0", "10.9.0.1", "10.9.1.0", "10.9.1.1"]
    text = f"no available IPv4 addresses on this network's address pools: n \\({'i' * 64}\\)"
    with pytest.raises(EngineError, match=text):
        own.take(4, None)
    with pytest.raises(EngineError, match="no available IPv6 addresses"):
        own.take(6, None)


def test_what_a_running_container_has_is_not_handed_out() -> None:
    """Also what is in no subnet that is known yet: it is kept for when one is."""
    own = addresses(Subnet(subnet="10.9.0.0/29", gateway="10.9.0.1"))
    own.take_if_free(IPv4Address("10.9.0.2"))
    own.take_if_free(IPv6Address("fd00::2"))
    assert str(own.take(4, None)[0]) == "10.9.0.3"
    assert {str(one) for one in own.handed_out} == {"10.9.0.2", "10.9.0.3", "fd00::2"}
    for one in own.handed_out:
        own.give_back(one)
    assert own.handed_out == []


def test_who_comes_again_gets_what_it_had() -> None:
    """Others may have resolved its name once, as proxies do; unless somebody else has it by now."""
    own = addresses(Subnet(subnet="10.9.0.0/29", gateway="10.9.0.1"), Subnet(subnet="fd00::/120"))

    def take(owner: str) -> Address:
        return own.take(4, None, owner=owner)[0]

    first, second = take("a"), take("b")
    own.take(6, None, owner="a")
    own.give_back(first)
    assert str(take("c")) == "10.9.0.4"
    assert take("a") == first
    own.give_back(first)
    own.take(4, first, owner="d")
    assert take("a") not in {first, second}
    own.give_back(second)
    assert take("b") == second


def test_a_container_of_an_earlier_engine_is_known_again() -> None:
    """It was adopted with its address, and is started again."""
    own = addresses(Subnet(subnet="10.9.0.0/29", gateway="10.9.0.1"))
    own.take_if_free(IPv4Address("10.9.0.5"), owner="a")
    own.give_back(IPv4Address("10.9.0.5"))
    assert str(own.take(4, None, owner="a")[0]) == "10.9.0.5"


def test_memory_of_those_who_have_gone_is_bounded() -> None:
    """The oldest are forgotten; they get any address."""
    own = addresses(Subnet(subnet="10.9.0.0/16", gateway="10.9.0.1"))
    for number in range(REMEMBERED + 1):
        address, _ = own.take(4, None, owner=str(number))
        own.give_back(address)
    assert str(own.take(4, None, owner="1")[0]) == "10.9.0.3"
    assert str(own.take(4, None, owner="0")[0]) != "10.9.0.2"
