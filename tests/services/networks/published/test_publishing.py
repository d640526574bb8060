"""Published ports as a whole: what is told to firewall and proxy, and when a port is free again."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any, cast

import pytest
import trio

from services.errors import EngineError, NotSupported
from services.networks.firewall.firewall import Firewall
from services.networks.firewall.network_rules import PortTargets, Target
from services.networks.ports import PortRequest, PublishedPort
from services.networks.published import reservations
from services.networks.published.port_plan import PortMeans
from services.networks.published.proxy import ProxiedPort, UserlandProxy
from services.networks.published.publishing import Publishing
from tests.support.ports import free_port

ONLY_4 = PortTargets(ipv4=Target(bridge="b", address=IPv4Address("10.0.0.2")))
DUAL = replace(ONLY_4, ipv6=Target(bridge="b", address=IPv6Address("fd00::2")))


def is_free(port: PublishedPort) -> bool:
    family = socket.AF_INET6 if port.is_ipv6 else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host_address, port.host_port))
            probe.listen(1)
        except OSError:
            return False
        return True


class Told:
    """Both the firewall and the proxy: what they have, and in which order they were told."""

    def __init__(self) -> None:
        self.led: dict[str, tuple[PortTargets, tuple[PublishedPort, ...]]] = {}
        self.carried: dict[str, list[tuple[str, int]]] = {}
        self.calls: list[str] = []
        self.refusal: EngineError | None = None
        self.free_at_withdrawal: list[bool] = []

    async def publish(
        self, owner: str, targets: PortTargets, ports: Sequence[PublishedPort]
    ) -> None:
        if self.refusal:
            raise self.refusal
        self.led[owner] = (targets, tuple(ports))

    async def withdraw(self, owner: str) -> None:
        _, ports = self.led.pop(owner, (None, ()))
        self.free_at_withdrawal = [is_free(port) for port in ports]

    def adopt(self, owner: str, targets: PortTargets, ports: Sequence[PublishedPort]) -> None:
        self.led[owner] = (targets, tuple(ports))

    def settle(self) -> None:
        self.calls.append("settle")

    def serve(self, owner: str, ports: Sequence[ProxiedPort]) -> None:
        if ports:
            self.carried[owner] = [(port.address, port.port) for port in ports]

    async def stop(self, owner: str) -> None:
        self.carried.pop(owner, None)


@pytest.fixture(autouse=True)
def ports_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports that no daemon beside the test chooses, so that those let go of stay free."""
    first = free_port()
    monkeypatch.setattr(reservations, "_ephemeral_range", lambda: (first, first + 9))


def build(told: Told, **means: Any) -> Publishing:
    return Publishing(
        firewall=cast(Firewall, told), proxy=cast(UserlandProxy, told), means=PortMeans(**means)
    )


WEB = [PortRequest(protocol="tcp", container_port=80)]


async def test_from_reservation_to_release() -> None:
    """A port is led after it was reserved, and reserved for as long as it is led."""
    told = Told()
    publishing = build(told)
    ports = await publishing.reserve("c", ONLY_4, WEB)
    assert [port.host_address for port in ports] == ["0.0.0.0", "::"]
    assert len({port.host_port for port in ports}) == 1
    assert not any(map(is_free, ports))
    assert not told.led
    await publishing.publish("c")
    assert told.led == {"c": (ONLY_4, ports)}
    assert told.carried == {"c": [("10.0.0.2", 80)]}
    await publishing.release("c")
    assert (told.led, told.carried) == ({}, {})
    assert told.free_at_withdrawal == [False, False]
    assert all(map(is_free, ports))
    await publishing.release("c")


async def test_another_way_out() -> None:
    """The same ports, led elsewhere; the proxy goes on with the container's own family."""
    told = Told()
    publishing = build(told)
    ports = await publishing.reserve("c", ONLY_4, WEB)
    await publishing.publish("c")
    await publishing.publish("c", DUAL)
    assert told.led == {"c": (DUAL, ports)}
    assert told.carried == {"c": [("fd00::2", 80)]}
    await publishing.release("c")


async def test_a_firewall_that_refuses() -> None:
    """The ports are still reserved, until the start that failed lets go of them."""
    told = Told()
    told.refusal = EngineError("no")
    publishing = build(told)
    ports = await publishing.reserve("c", ONLY_4, WEB)
    with pytest.raises(EngineError):
        await publishing.publish("c")
    assert told.carried == {}
    assert not any(map(is_free, ports))
    await publishing.release("c")
    assert all(map(is_free, ports))


async def test_what_runs_is_adopted_once() -> None:
    """As it was; a second look changes nothing."""
    first = build(Told())
    ports = await first.reserve("c", ONLY_4, WEB)
    await first.release("c")
    told = Told()
    publishing = build(told)
    publishing.adopt("c", ONLY_4, ports)
    publishing.adopt("c", DUAL, ())
    publishing.adopt("c", DUAL, ports)
    publishing.settle()
    assert told.led == {"c": (ONLY_4, ports)}
    assert told.carried == {"c": [("10.0.0.2", 80)]}
    assert told.calls == ["settle"]
    assert not any(map(is_free, ports))
    await publishing.release("c")
    assert all(map(is_free, ports))


async def test_a_firewall_for_ipv4_alone() -> None:
    """--ip6tables=false: the proxy carries what comes by IPv6, and the firewall is told of IPv4."""
    told = Told()
    publishing = build(told, has_firewall6=False)
    await publishing.reserve("c", DUAL, WEB)
    await publishing.publish("c")
    assert told.led["c"][0] == ONLY_4
    assert told.carried == {"c": [("fd00::2", 80)]}
    await publishing.release("c")


async def test_nothing_to_lead_with() -> None:
    """Said when a port is asked for, and only then."""
    publishing = Publishing(
        firewall=None,
        proxy=None,
        means=PortMeans(has_firewall=False, has_firewall6=False, has_proxy=False),
    )
    assert await publishing.reserve("c", ONLY_4, []) == ()
    await publishing.publish("c")
    with pytest.raises(NotSupported, match="--userland-proxy=false"):
        await publishing.reserve("c", ONLY_4, WEB)


async def until_clean(publishing: Publishing) -> None:
    with trio.fail_after(30):
        while publishing.problems():
            await trio.sleep(0.02)


async def test_port_that_somebody_had_is_told_and_had_again() -> None:
    """Found running, its port was taken meanwhile: a look says so, until it is free."""
    first = build(Told())
    (port, *others) = await first.reserve("c", ONLY_4, WEB)
    await first.release("c")
    proxy = UserlandProxy()
    publishing = Publishing(firewall=None, proxy=proxy, means=PortMeans(has_firewall=False))
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        with socket.create_server(("0.0.0.0", port.host_port)):
            publishing.adopt("c", ONLY_4, (port, *others))
            lacking = f"no socket holds {port.host_address}:{port.host_port}/tcp"
            assert lacking in publishing.problems()["c"]
            await publishing.mend()
            assert lacking in publishing.problems()["c"]
        with trio.fail_after(30):
            while not is_free(port):  # a child that is being made has it too, until its exec
                await trio.sleep(0.02)
        await publishing.mend()
        await until_clean(publishing)
        assert not is_free(port)
        await publishing.release("c")
        nursery.cancel_scope.cancel()


async def test_proxy_that_does_not_have_a_port_is_told() -> None:
    """By the sockets of its process, whatever it was told; mending tells it again."""
    proxy = UserlandProxy()
    publishing = Publishing(firewall=None, proxy=proxy, means=PortMeans(has_firewall=False))
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        await publishing.reserve("c", ONLY_4, WEB)
        await publishing.publish("c")
        await until_clean(publishing)
        carried = proxy.carried()["c"]
        await proxy.stop("c")
        proxy._ports["c"], proxy._told = carried, {"c"}  # it lost them, and we do not know
        (text, *_) = publishing.problems()["c"]
        assert text == "the userland proxy does not carry tcp to 10.0.0.2:80"
        await publishing.mend()
        await until_clean(publishing)
        await publishing.release("c")
        nursery.cancel_scope.cancel()
