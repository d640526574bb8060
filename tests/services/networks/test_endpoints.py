"""Which network is a container's way out, and what its links are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidParameter
from services.networks.endpoints import Endpoint, checked_mac, free_interface, gateways


def endpoint(name: str, *, four: bool = True, six: bool = False, priority: int = 0) -> Endpoint:
    return Endpoint(
        network=name,
        network_id=name * 4,
        endpoint_id=name * 8,
        gateway="10.0.0.1" if four else "",
        gateway6="fd00::1" if six else "",
        gateway_priority=priority,
    )


def names(*endpoints: Endpoint) -> tuple[str, str]:
    ways = gateways(endpoints)
    return ways.ipv4.network if ways.ipv4 else "", ways.ipv6.network if ways.ipv6 else ""


def test_among_equals_the_first_name_leads_out() -> None:
    """In whatever order they came; each version by itself."""
    assert names(endpoint("b"), endpoint("a")) == ("a", "")
    assert names(endpoint("b", six=True), endpoint("a")) == ("a", "b")


def test_priority_goes_before_the_name() -> None:
    """It may be negative."""
    assert names(endpoint("a"), endpoint("b", priority=1)) == ("b", "")
    assert names(endpoint("a", priority=-1), endpoint("b")) == ("b", "")


def test_what_has_no_gateway_leads_nowhere() -> None:
    """Internal networks, however high their priority."""
    assert names(endpoint("a", four=False, priority=9), endpoint("b")) == ("b", "")
    assert names(endpoint("a", four=False)) == ("", "")
    assert names() == ("", "")


@given(st.permutations([endpoint(n, priority=p) for n, p in (("a", 0), ("b", 2), ("c", 2))]))
def test_order_means_nothing(endpoints: list[Endpoint]) -> None:
    """The rule looks at values only."""
    assert names(*endpoints) == ("b", "")


def test_the_lowest_free_number_is_taken() -> None:
    """As dockerd names links."""
    assert free_interface("eth", []) == "eth0"
    assert free_interface("eth", ["eth0", "eth2", "net1"]) == "eth1"


@pytest.mark.parametrize("text", ["02:42:AC:11:00:02", "02-42-ac-11-00-02", "0242.ac11.0002"])
def test_a_mac_address(text: str) -> None:
    """In all of Go's spellings."""
    assert checked_mac(text) == "02:42:ac:11:00:02"


@pytest.mark.parametrize("text", ["02:42", "x", "02:42:ac:11:00:0g", "02:42:ac:11:00:02\n"])
def test_what_is_no_mac_address(text: str) -> None:
    """Refused."""
    with pytest.raises(InvalidParameter, match="invalid MAC address"):
        checked_mac(text)
