"""Connecting and disconnecting: what is recorded before what is done, and what a failure leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from services.containers.config import EndpointIPAMConfig, EndpointSettings, HostConfig
from services.containers.container import Container
from services.containers.model import Definition, Place, State, Status
from services.containers.networking.connections import Connector
from services.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotFound
from services.events import Event
from services.networks import Endpoint, EndpointRequest, Network, PortRequest, PublishedPort
from services.networks.model import Subnet
from services.networks.sandboxes.gateway import WayOut
from tests.services.api.containers import container, exited, running

FRONT = Network(id="f" * 64, name="front", driver="bridge", subnets=[Subnet(subnet="10.1.0.0/24")])
BRIDGE = Network(id="3" * 64, name="bridge", driver="bridge")
HOST = Network(id="c" * 64, name="host", driver="host")
NONE = Network(id="d" * 64, name="none", driver="null")
CONF = Network(id="e" * 64, name="conf", driver="null", config_only=True)
ENDPOINT = Endpoint(
    network="front",
    network_id="f" * 64,
    endpoint_id="9" * 64,
    address="10.1.0.2",
    prefix_length=24,
    gateway="10.1.0.1",
    mac_address="02:42:0a:01:00:02",
    interface="eth1",
)
PORT = PublishedPort(protocol="tcp", container_port=80, host_address="0.0.0.0", host_port=8080)


class World:
    """What a connector works with: it notes each step, and fails at the one that is told."""

    def __init__(self, *, fails_at: str = "", ports: Sequence[PublishedPort] = ()) -> None:
        self.steps: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.fails_at = fails_at
        self.now_ports = tuple(ports)
        self.is_mute = False  # it is to be answered by the DNS, and is not
        self.has_managers = False  # whom a network that is not known here could be known to
        fakes: Any = self
        self.connector = Connector(journal=fakes, networks=fakes, sandboxes=fakes, naming=fakes)

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.fails_at:
            raise EngineError(f"{name} failed")

    # -- journal
    async def change_status(self, subject: Container, *events: Event, **changes: Any) -> None:
        self._step("loose" if changes.get("loose") else "status")
        self.events += [(event.action, event.attributes["name"]) for event in events]
        subject.replace(status=msgspec.structs.replace(subject.status, **changes))

    async def set_definition(
        self, subject: Container, definition: Definition, *events: Event, **changes: Any
    ) -> None:
        self._step("definition")
        self.events += [(event.action, event.attributes["name"]) for event in events]
        status = msgspec.structs.replace(subject.status, **changes)
        subject.replace(definition=definition, status=status)

    # -- networks
    def find(self, ref: str) -> Network:
        for network in (FRONT, BRIDGE, HOST, NONE, CONF):
            if ref in (network.name, network.id):
                return network
        raise NotFound(f"network {ref} not found")

    # -- sandboxes
    async def reserve_one(self, container_id: str, request: EndpointRequest) -> Endpoint:
        self._step("reserve")
        assert request.network == FRONT.id
        return ENDPOINT

    def cancel(self, container_id: str, endpoint: Endpoint) -> None:
        self._step("cancel")

    async def plug_in(self, container_id: str, endpoint: Endpoint, *, pid: int) -> None:
        self._step("plug in")

    async def unplug(self, container_id: str, endpoint: Endpoint, *, pid: int) -> None:
        assert endpoint.interface
        assert endpoint.endpoint_id == ENDPOINT.endpoint_id
        self._step("unplug")

    def way_out(self, container_id: str) -> WayOut:
        return WayOut.RIGHT

    async def follow_ports(
        self, container_id: str, ports: Sequence[PortRequest], *, name: str
    ) -> tuple[PublishedPort, ...]:
        self._step("ports")
        return self.now_ports

    def ports(self, container_id: str) -> tuple[PublishedPort, ...]:
        return ()

    def namespace(self, container_id: str, pid: int) -> str:
        return f"/proc/{pid}/ns/net"

    # -- naming
    def lacks_answers(self, subject: Container) -> bool:
        return self.is_mute

    async def answer(self, subject: Container, namespace: object) -> None:
        assert namespace == f"/proc/{subject.status.pid}/ns/net"
        self._step("answered")
        self.is_mute = False

    async def connected(self, subject: Container, endpoint: Endpoint, namespace: object) -> None:
        self._step("named")

    async def disconnected(self, subject: Container, endpoint: Endpoint) -> None:
        self._step("unnamed")


def in_both() -> Container:
    """A container that runs on the bridge and in the network."""
    settings = EndpointSettings(network_id=FRONT.id, endpoint_id="9" * 64, ip_address="10.1.0.2")
    status = running()
    return container(
        status=msgspec.structs.replace(
            status,
            networks={**status.networks, "front": settings},
            places={"front": Place(interface="eth1")},
        ),
        networks={"bridge": EndpointSettings(), "front": EndpointSettings()},
    )


async def test_a_link_is_loose_until_the_record_has_it() -> None:
    """On disk before the link is made; the event comes with the record."""
    world, subject = World(), container(status=running())
    await world.connector.connect(subject, "front", EndpointSettings(aliases=["x"]))
    assert world.steps == ["reserve", "loose", "plug in", "definition", "named", "ports"]
    assert world.events == [("connect", "front")]
    assert subject.definition.networks["front"].aliases == ["x"]
    assert subject.status.networks["front"].ip_address == "10.1.0.2"
    assert subject.status.places["front"] == Place(interface="eth1")
    assert subject.status.loose == {}


async def test_a_link_is_loose_from_the_record_on() -> None:
    """Until it is deleted: its end is told of before."""
    world, subject = World(), in_both()
    await world.connector.disconnect(subject, "front")
    assert world.steps == ["definition", "unnamed", "unplug", "ports", "status"]
    assert world.events == [("disconnect", "front")]
    assert list(subject.definition.networks) == list(subject.status.networks) == ["bridge"]
    assert (subject.status.places, subject.status.loose) == ({}, {})


@pytest.mark.parametrize(
    ("fails_at", "undone"),
    [
        ("loose", ["unplug"]),
        ("plug in", ["unplug", "status"]),
        ("definition", ["unplug", "status"]),
    ],
)
async def test_a_connect_that_fails_leaves_nothing(fails_at: str, undone: list[str]) -> None:
    """Neither a link nor a record; nobody was told."""
    world, subject = World(fails_at=fails_at), container(status=running())
    with pytest.raises(EngineError, match=f"{fails_at} failed"):
        await world.connector.connect(subject, "front", EndpointSettings())
    assert world.steps[world.steps.index(fails_at) + 1 :] == undone
    assert (world.events, subject.status.loose) == ([], {})
    assert list(subject.definition.networks) == list(subject.status.networks) == ["bridge"]


async def test_what_cannot_be_deleted_stays_loose() -> None:
    """It is tried again until it is gone, and only then forgotten."""
    world, subject = World(fails_at="unplug"), in_both()
    with pytest.raises(EngineError):
        await world.connector.disconnect(subject, "front")
    assert list(subject.status.networks) == ["bridge"]
    assert list(subject.status.loose) == ["9" * 64]
    world.steps = []
    await world.connector.try_again(subject)
    assert (world.steps, list(subject.status.loose)) == (["unnamed", "unplug"], ["9" * 64])
    with pytest.raises(Forbidden, match="already exists in network front"):
        await world.connector.connect(subject, "front", EndpointSettings())
    world.fails_at, world.steps = "", []
    await world.connector.try_again(subject)
    assert world.steps == ["unnamed", "unplug", "ports", "status"]
    assert subject.status.loose == {}
    await world.connector.try_again(subject)
    assert world.steps == ["unnamed", "unplug", "ports", "status"]


async def test_one_that_could_not_be_answered_is_in_the_end() -> None:
    """While it runs, round after round; a failure is no end."""
    world, subject = World(fails_at="answered"), container(status=running())
    world.is_mute = True
    for _ in range(2):
        await world.connector.try_again(subject)
        assert world.is_mute
    world.fails_at = ""
    await world.connector.try_again(subject)
    await world.connector.try_again(subject)
    assert world.steps == ["answered"] * 3
    world.is_mute = True
    await world.connector.try_again(container(status=exited()))
    assert world.steps == ["answered"] * 3


async def test_connecting_again_first_takes_away_what_is_loose() -> None:
    """Nobody has to wait for the next round."""
    world, subject = World(fails_at="unplug"), in_both()
    with pytest.raises(EngineError):
        await world.connector.disconnect(subject, "front")
    world.fails_at, world.steps = "", []
    await world.connector.connect(subject, "front", EndpointSettings())
    assert world.steps[:5] == ["unnamed", "unplug", "ports", "status", "reserve"]
    assert sorted(subject.status.networks) == ["bridge", "front"]
    assert subject.status.loose == {}


async def test_a_connect_that_cannot_be_undone_stays_loose() -> None:
    """Its link may be there: its address is nobody else's until it is gone."""

    class Stuck(World):
        def _step(self, name: str) -> None:
            super()._step(name)
            if name == "unplug" and self.fails_at:
                raise EngineError("unplug failed")

    world, subject = Stuck(fails_at="plug in"), container(status=running())
    with pytest.raises(EngineError, match="plug in failed"):
        await world.connector.connect(subject, "front", EndpointSettings())
    assert world.steps == ["reserve", "loose", "plug in", "unplug"]
    assert list(subject.status.loose) == [ENDPOINT.endpoint_id]
    world.fails_at = ""
    await world.connector.try_again(subject)
    assert subject.status.loose == {}


async def test_ports_are_recorded_when_they_change() -> None:
    """With the way out, ports may come and go."""
    world, subject = World(ports=[PORT]), container(status=running())
    await world.connector.connect(subject, "front", EndpointSettings())
    assert subject.status.ports == [PORT]
    assert world.steps[-2:] == ["ports", "status"]


async def test_before_it_runs_only_the_record_changes() -> None:
    """What was asked for first holds; nobody is told."""
    world, subject = World(), container(status=exited())
    await world.connector.connect(subject, "front", EndpointSettings(aliases=["x"]))
    await world.connector.connect(subject, FRONT.id, EndpointSettings(aliases=["y"]))
    assert subject.definition.networks["front"].aliases == ["x"]
    await world.connector.disconnect(subject, "bridge")
    assert list(subject.definition.networks) == ["front"]
    assert (world.steps, world.events) == (["definition", "definition"], [])


async def test_a_network_that_is_gone_is_left_by_force() -> None:
    """Its name still stands in the record."""
    world = World()
    subject = container(status=exited(), networks={"gone": EndpointSettings()})
    with pytest.raises(NotFound):
        await world.connector.disconnect(subject, "gone")
    await world.connector.disconnect(subject, "gone", force=True)
    assert subject.definition.networks == {}


@pytest.mark.parametrize(
    ("subject", "network", "error", "text"),
    [
        (container(), "nope", NotFound, "network nope not found"),
        (container(), "conf", Forbidden, "is a configuration network"),
        (container(), "none", InvalidParameter, "private (none) mode"),
        (container(), "host", InvalidParameter, "container must be created in host network mode"),
        (
            container(
                host_config=HostConfig(network_mode="host"), networks={"host": EndpointSettings()}
            ),
            "front",
            InvalidParameter,
            "container sharing network namespace with another container or host",
        ),
        (
            container(host_config=HostConfig(network_mode="container:x"), networks={}),
            "front",
            InvalidParameter,
            "container sharing network namespace with another container or host",
        ),
        (
            container(status=Status(state=State.REMOVING)),
            "front",
            EngineError,
            "is marked for removal and cannot be connected or disconnected",
        ),
    ],
)
async def test_what_does_not_go_together(
    subject: Container, network: str, error: type[EngineError], text: str
) -> None:
    """dockerd's words; nothing is changed."""
    world = World()
    with pytest.raises(error) as refused:
        await world.connector.connect(subject, network, EndpointSettings())
    assert text in str(refused.value)
    assert world.steps == []


async def test_settings_that_cannot_be() -> None:
    """Refused before anything is taken."""
    world = World()
    asked = EndpointSettings(ipam_config=EndpointIPAMConfig(ipv4_address="10.9.0.1"))
    with pytest.raises(InvalidParameter, match="no configured subnet"):
        await world.connector.connect(container(status=running()), "front", asked)
    assert world.steps == []


async def test_a_network_that_it_is_not_in() -> None:
    """dockerd's words."""
    world = World()
    with pytest.raises(Conflict, match="is not connected to network front"):
        await world.connector.disconnect(container(status=running()), "front")


async def test_the_host_is_not_left_while_it_runs() -> None:
    """There would be nowhere to go."""
    world = World()
    subject = container(
        status=running(),
        host_config=HostConfig(network_mode="host"),
        networks={"host": EndpointSettings()},
    )
    with pytest.raises(InvalidParameter, match="cannot disconnect container from host network"):
        await world.connector.disconnect(subject, "host")
