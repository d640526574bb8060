"""Where subnets come from that nobody names."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidParameter
from services.networks.ipam.pools import (
    DEFAULT_POOLS,
    Pool,
    free_subnet,
    unique_local_pool,
    with_unique_local,
)


def test_dockerds_pools_in_their_order() -> None:
    """31 subnets, then none, in dockerd's words."""
    taken: list[IPv4Network | IPv6Network] = []
    for _ in range(31):
        taken.append(free_subnet(DEFAULT_POOLS, 4, taken))
    assert [str(prefix) for prefix in taken[:4]] == [
        "172.17.0.0/16",
        "172.18.0.0/16",
        "172.19.0.0/16",
        "172.20.0.0/16",
    ]
    assert [str(prefix) for prefix in taken[14:17]] == [
        "172.31.0.0/16",
        "192.168.0.0/20",
        "192.168.16.0/20",
    ]
    with pytest.raises(InvalidParameter, match="all predefined address pools have been fully"):
        free_subnet(DEFAULT_POOLS, 4, taken)


def test_a_default_route_blocks_nothing() -> None:
    """It overlaps everything and does not count."""
    routes = [IPv4Network("0.0.0.0/0"), IPv4Network("172.17.4.0/24")]
    assert free_subnet(DEFAULT_POOLS, 4, routes) == IPv4Network("172.18.0.0/16")


def test_unique_local_addresses_are_an_engines_own() -> None:
    """A /48 in fd00::/8, the same for the life of the engine, unless the user gives pools."""
    own = unique_local_pool("engine")
    assert own == unique_local_pool("engine")
    assert own != unique_local_pool("another")
    assert own.base.prefixlen == 48
    assert own.base.subnet_of(IPv6Network("fd00::/8"))  # type: ignore[arg-type]
    given_one = Pool(IPv6Network("2001:db8::/56"), 64)
    assert with_unique_local(DEFAULT_POOLS, "engine")[-1] == own
    assert with_unique_local([given_one], "engine") == (given_one,)


def test_a_large_pool_is_not_walked_through() -> None:
    """Two million subnets, all but the last one taken by one route."""
    pool = Pool(IPv4Network("10.0.0.0/8"), 29)
    taken = [IPv4Network("10.0.0.0/9"), IPv4Network("10.128.0.0/10"), IPv4Network("10.192.0.0/10")]
    with pytest.raises(InvalidParameter):
        free_subnet([pool], 4, taken)
    taken[-1] = IPv4Network("10.192.0.0/11")
    assert str(free_subnet([pool], 4, taken)) == "10.224.0.0/29"


prefixes = st.builds(
    lambda number, length: ip_network((10 << 24 | number << 12, length), strict=False),
    st.integers(0, 4095),
    st.integers(10, 28),
)


@given(taken=st.lists(prefixes, max_size=30), size=st.integers(12, 24))
def test_the_first_free_subnet_is_found(taken: list[IPv4Network | IPv6Network], size: int) -> None:
    """As by trying each one in turn."""
    base = IPv4Network("10.0.0.0/10")
    tried = (
        subnet
        for subnet in base.subnets(new_prefix=size)
        if not any(subnet.overlaps(other) for other in taken)
    )
    expected = next(tried, None)
    if expected is None:
        with pytest.raises(InvalidParameter):
            free_subnet([Pool(base, size)], 4, taken)
    else:
        assert free_subnet([Pool(base, size)], 4, taken) == expected
