"""Which addresses a node has for its peers: asked for, or found out, or not to be told."""

from __future__ import annotations

import pytest

from services.cluster.addresses import (
    Addresses,
    InterfaceAddress,
    decide,
    peer_port,
    peer_url,
    present_addresses,
    split_host,
)
from services.errors import EngineError, InvalidParameter

LOOPBACK = InterfaceAddress("lo", "127.0.0.1")
ETH0 = InterfaceAddress("eth0", "10.0.0.1")
ETH1 = InterfaceAddress("eth1", "10.0.1.1")
DOCKER0 = InterfaceAddress("docker0", "172.17.0.1")
ETH0_6 = InterfaceAddress("eth0", "fd00::1")


def decided(
    *present: InterfaceAddress,
    advertise: str = "",
    data_path: str = "",
    listen: str = "0.0.0.0:2377",
    towards: str = "",
) -> Addresses:
    return decide(
        listen=listen, advertise=advertise, data_path=data_path, present=present, towards=towards
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", ("10.0.0.1", 2377)),
        ("10.0.0.1:99", ("10.0.0.1", 99)),
        ("[fd00::1]:99", ("fd00::1", 99)),
        ("fd00::1", ("fd00::1", 2377)),
        (":99", ("", 99)),
        ("eth0", ("eth0", 2377)),
    ],
)
def test_host_and_port(text: str, expected: tuple[str, int]) -> None:
    """As people write them; the host is bare."""
    assert split_host(text, 2377) == expected


def test_a_port_that_is_none_is_refused() -> None:
    """It is no part of a name."""
    with pytest.raises(InvalidParameter):
        split_host("10.0.0.1:http", 2377)


def test_the_only_address_is_advertised() -> None:
    """Loopback and the engine's own bridge are none that others could use."""
    found = decided(LOOPBACK, DOCKER0, ETH0, ETH0_6)
    assert found == Addresses(
        listen="0.0.0.0:2377", advertise="10.0.0.1:2377", data_path="10.0.0.1"
    )


def test_of_several_addresses_none_is_guessed() -> None:
    """In dockerd's words, which the CLI knows, and goes on to say what to do."""
    with pytest.raises(EngineError, match=r"0\.1 on eth0 and 10\.0\.1\.1 on eth1\)$"):
        decided(ETH0, ETH1)
    with pytest.raises(EngineError, match="multiple addresses on interface eth0"):
        decided(ETH0, InterfaceAddress("eth0", "10.0.0.2"))
    with pytest.raises(EngineError, match="could not find the system's IP address"):
        decided(LOOPBACK, DOCKER0)


def test_the_way_to_a_manager_says_which() -> None:
    """For a node that joins."""
    assert decided(ETH0, ETH1, towards="10.0.1.1").advertise == "10.0.1.1:2377"


def test_interfaces_stand_for_their_address() -> None:
    """In every place; one that is not there is refused."""
    found = decided(ETH0, ETH1, ETH0_6, advertise="eth1:99", data_path="eth0", listen="eth0:2400")
    assert found == Addresses(listen="10.0.0.1:2400", advertise="10.0.1.1:99", data_path="10.0.0.1")
    for place in ("advertise", "data_path", "listen"):
        what = place.replace("_", " ")
        with pytest.raises(InvalidParameter, match=f"^{what} address must be a.* network interf"):
            decided(ETH0, **{place: "eth7"})


def test_nobody_is_reached_at_no_address() -> None:
    """0.0.0.0 is to listen on, not to be found at."""
    with pytest.raises(InvalidParameter, match="non-zero"):
        decided(ETH0, advertise="0.0.0.0")
    with pytest.raises(InvalidParameter, match="non-zero"):
        decided(ETH0, data_path="0.0.0.0")


def test_etcd_is_found_beside_the_swarm_port() -> None:
    """At the port that firewalls of swarms let through; no number leaves the range."""
    assert peer_url("10.0.0.1:2377", "0.0.0.0:2377") == "https://10.0.0.1:7946"
    assert peer_url("[fd00::1]:2377", "[::]:2377") == "https://[fd00::1]:7946"
    assert all(0 < peer_port(port) < 65536 for port in range(1, 65536))
    assert all(peer_port(port) != port for port in range(1, 65536))


def test_the_hosts_own_addresses_are_read() -> None:
    """Each with its interface."""
    assert InterfaceAddress("lo", "127.0.0.1") in present_addresses()
