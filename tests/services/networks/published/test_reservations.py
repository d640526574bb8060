"""Host ports are reserved by sockets: from each other, and from every other program."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import EngineError
from services.networks.ports import PortGroup, PublishedPort
from services.networks.published.reservations import Reservations

PROTOCOLS = ("tcp", "udp")
FEW = (20000, 20004)


@pytest.fixture
def address() -> str:
    """An address of the host that nobody else uses."""
    return own_address()


@pytest.fixture
def reservations() -> Iterator[Reservations]:
    """Some, let go of at the end."""
    made = Reservations(ephemeral=FEW)
    yield made
    made.close()


def own_address() -> str:
    return f"127.{1 + secrets.randbelow(250)}.{secrets.randbelow(250)}.{1 + secrets.randbelow(250)}"


def wanted(address: str, first: int = 0, last: int = 0, protocol: str = "tcp") -> PortGroup:
    return PortGroup(
        protocol=protocol,
        container_port=80,
        host_addresses=(address,),
        first=first,
        last=last or first,
    )


def is_free(port: PublishedPort) -> bool:
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if port.protocol == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host_address, port.host_port))
            if port.protocol == "tcp":
                probe.listen(1)
        except OSError:
            return False
        return True


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from(PROTOCOLS),
            st.sampled_from([(0, 0), (20000, 20000), (20001, 20003)]),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_no_port_is_had_twice(steps: list[tuple[str, str, tuple[int, int], bool]]) -> None:
    """Whatever is reserved and released, the kernel and the answers agree."""
    address, reservations = own_address(), Reservations(ephemeral=FEW)
    had: dict[str, list[PublishedPort]] = {}
    try:
        for owner, protocol, (first, last), is_release in steps:
            if is_release:
                reservations.release(owner)
                for port in had.pop(owner, []):
                    assert is_free(port)
                continue
            try:
                ports = reservations.reserve(owner, [wanted(address, first, last, protocol)])
            except EngineError:
                assert had.pop(owner, None) is None or True  # what the owner had is let go of
                continue
            for port in ports:
                assert not any(port.overlaps(other) for p in had.values() for other in p)
                assert not is_free(port)
            had.setdefault(owner, []).extend(ports)
    finally:
        reservations.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_port_of_ours_is_allocated(
    reservations: Reservations, address: str, protocol: str
) -> None:
    """dockerd's words; the others that were asked for with it are free again."""
    reservations.reserve("a", [wanted(address, 20010, protocol=protocol)])
    with pytest.raises(EngineError) as caught:
        reservations.reserve(
            "b", [wanted(address, 20011), wanted(address, 20010, protocol=protocol)]
        )
    text = f"Bind for {address}:20010 failed: port is already allocated"
    assert str(caught.value) == text
    (port,) = reservations.reserve("c", [wanted(address, 20011)])
    assert port.host_port == 20011


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_port_of_another_program(reservations: Reservations, address: str, protocol: str) -> None:
    """Named as the kernel sees it; a free choice goes past it."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind((address, 20000))
        if protocol == "tcp":
            other.listen()
        with pytest.raises(EngineError) as caught:
            reservations.reserve("a", [wanted(address, 20000, protocol=protocol)])
        text = f"listen {protocol}4 {address}:20000: bind: address already in use"
        assert str(caught.value) == text
        (port,) = reservations.reserve("a", [wanted(address, protocol=protocol)])
        assert port.host_port == 20001


def test_an_address_that_is_not_the_hosts(reservations: Reservations) -> None:
    """The kernel's reason."""
    with pytest.raises(EngineError, match="bind: cannot assign requested address"):
        reservations.reserve("a", [wanted("203.0.113.1", 20000)])


def test_all_are_allocated(reservations: Reservations, address: str) -> None:
    """A free choice and a range of ports both end."""
    reservations.reserve("a", [wanted(address) for _ in range(5)])
    for request in (wanted(address), wanted(address, *FEW)):
        with pytest.raises(EngineError, match="all ports are allocated"):
            reservations.reserve("b", [request])


def test_an_adopted_port_is_reserved_again(reservations: Reservations, address: str) -> None:
    """Once, however often; one that somebody took meanwhile is told."""
    ports = [
        PublishedPort(protocol="tcp", container_port=80, host_address=address, host_port=number)
        for number in (20020, 20021)
    ]
    with socket.create_server((address, 20021)):
        for _ in range(2):
            (problem,) = reservations.adopt("a", ports)
            assert "20021: bind: address already in use" in problem
    assert not is_free(ports[0])
    reservations.release("a")
    assert is_free(ports[0])


def test_both_families_have_one_number(reservations: Reservations, address: str) -> None:
    """A number that is taken in one of them is not used in the other, and is free again there."""
    group = PortGroup(protocol="tcp", container_port=80, host_addresses=(address, "::1"))
    with socket.create_server(("::1", 20000), family=socket.AF_INET6):
        ports = reservations.reserve("a", [group])
        assert {port.host_port for port in ports} == {20001}
        assert is_free(replace(ports[0], host_port=20000))
        taken = replace(group, first=20000, last=20000)
        with pytest.raises(EngineError, match=r"listen tcp6 \[::1\]:20000: bind: address already"):
            reservations.reserve("b", [taken])
        assert is_free(replace(ports[0], host_port=20000))
        with pytest.raises(EngineError, match="Bind for ::1:20001 failed: port is already"):
            reservations.reserve(
                "b", [replace(group, host_addresses=("::1",), first=20001, last=20001)]
            )
    reservations.release("a")
    assert is_free(ports[0])
    assert len(reservations.reserve("b", [taken])) == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_opened_port_takes_in_what_comes(
    reservations: Reservations, address: str, protocol: str
) -> None:
    """Before, it is as if nobody heard it; there is none for what is not held."""
    (port,) = reservations.reserve("a", [wanted(address, protocol=protocol)])
    assert reservations.opened("a", replace(port, host_port=1)) is None
    assert reservations.opened("b", port) is None
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(0.1)
        if protocol == "tcp":
            with pytest.raises(TimeoutError):
                client.connect((address, port.host_port))
    bound = reservations.opened("a", port)
    assert bound is not None
    assert reservations.opened("a", port) is bound
    bound.settimeout(10)
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(10)
        client.connect((address, port.host_port))
        client.send(b"x")
        if protocol == "tcp":
            accepted, _ = bound.accept()
            with accepted:
                assert accepted.recv(1) == b"x"
        else:
            assert bound.recv(1) == b"x"
