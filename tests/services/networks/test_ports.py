"""What of ports a container asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidParameter
from services.networks.ports import (
    PortRequest,
    PublishedPort,
    by_container_port,
    parse_ports,
    port_requests,
    ports_of_range,
)

PORTS = st.integers(0, 65535)
PROTOCOLS = st.sampled_from(["tcp", "udp", "sctp"])


@given(PORTS, PORTS, PROTOCOLS)
def test_what_is_written_is_read(one: int, other: int, protocol: str) -> None:
    """Single ports and ranges, with and without a protocol."""
    first, last = sorted((one, other))
    assert parse_ports(f"{first}-{last}/{protocol.upper()}") == (first, last, protocol)
    assert parse_ports(f"{first}") == (first, first, "tcp")
    if first < last:
        with pytest.raises(InvalidParameter):
            parse_ports(f"{last}-{first}")


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else happens, and what is read stands in the range of ports."""
    try:
        first, last, protocol = parse_ports(text)
    except InvalidParameter:
        return
    assert 0 <= first <= last <= 65535
    assert protocol in ("tcp", "udp", "sctp")


@pytest.mark.parametrize("text", ["", "/", "x", "80/", "80/icmp", "65536", "-1", "1-", "٣", "80\n"])
def test_what_is_no_port(text: str) -> None:
    """Refused in dockerd's words; the protocol may be left empty."""
    if text == "80/":
        assert parse_ports(text) == (80, 80, "tcp")
        return
    with pytest.raises(InvalidParameter, match="invalid port specification"):
        parse_ports(text)


def test_bindings_and_exposed_ports() -> None:
    """A binding's own choice comes first; -P adds what has none."""
    asked = port_requests(
        {"80": [("", ""), ("127.0.0.1", "8080")], "53/udp": [("", "5300-5310")], "443/tcp": []},
        ["80/tcp", "443/tcp", "9000-9001/tcp"],
        publish_all=True,
    )
    assert asked == [
        PortRequest(
            protocol="tcp", container_port=80, host_address="127.0.0.1", first=8080, last=8080
        ),
        PortRequest(protocol="udp", container_port=53, first=5300, last=5310),
        PortRequest(protocol="tcp", container_port=80),
        PortRequest(protocol="tcp", container_port=443),
        PortRequest(protocol="tcp", container_port=9000),
        PortRequest(protocol="tcp", container_port=9001),
    ]
    assert port_requests({"443/tcp": []}, ["80/tcp"]) == []


def test_the_same_binding_twice_is_one() -> None:
    """Clients send what the user wrote twice."""
    assert len(port_requests({"80/tcp": [("", "80"), ("", "80")]})) == 1
    asked = port_requests({"80": [("::ffff:127.0.0.1", ""), ("127.0.0.1", ""), ("0:0::1", "")]})
    assert [request.host_address for request in asked] == ["127.0.0.1", "::1"]


@pytest.mark.parametrize(
    ("binding", "error"),
    [
        (("nowhere", "80"), InvalidParameter),
        (("", "99999"), InvalidParameter),
    ],
)
def test_bindings_that_cannot_be(binding: tuple[str, str], error: type[Exception]) -> None:
    """Each with its class of error."""
    with pytest.raises(error):
        port_requests({"80/tcp": [binding]})
    with pytest.raises(InvalidParameter):
        port_requests({"80-81/tcp": [("", "80")]})


@given(PORTS, st.integers(0, 199))
def test_each_port_of_a_range(first: int, further: int) -> None:
    """In order, both ends with it."""
    last = min(first + further, 65535)
    expected = [f"{number}/udp" for number in range(first, last + 1)]
    assert ports_of_range(f"{first}-{last}/udp") == expected


def test_overlaps() -> None:
    """All addresses overlap with each; another protocol or port with none."""

    def port(address: str, number: int = 80, protocol: str = "tcp") -> PublishedPort:
        return PublishedPort(
            protocol=protocol, container_port=1, host_address=address, host_port=number
        )

    assert not port("::").overlaps(port("0.0.0.0"))
    assert port("::").overlaps(port("::1"))
    assert not port("0.0.0.0", 0).overlaps(port("0.0.0.0", 0))
    everywhere, here = port("0.0.0.0"), port("127.0.0.1")
    assert everywhere.overlaps(here)
    assert here.overlaps(everywhere)
    assert here.overlaps(port("127.0.0.1"))
    assert not here.overlaps(port("127.0.0.2"))
    assert not everywhere.overlaps(port("0.0.0.0", 81))
    assert not everywhere.overlaps(port("0.0.0.0", protocol="udp"))
    assert by_container_port([everywhere, here]) == {"1/tcp": [everywhere, here]}
