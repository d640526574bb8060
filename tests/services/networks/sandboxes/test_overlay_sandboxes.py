"""Containers of an engine in overlay networks: their links, their way out, and after a kill."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from services.errors import EngineError, Forbidden, InvalidParameter, NotFound
from services.networks import EndpointRequest
from services.networks.catalog.filters import NetworkFilters
from services.networks.kernel.netns import enter_namespace, make_namespace
from services.networks.model import GATEWAY_BRIDGE, Network
from services.networks.sandboxes.attaching import Given
from services.networks.sandboxes.gateway import gateway_request
from tests.services.networks.nodes import network_at, overlay_network
from tests.services.networks.scene import Scene, own_addresses, running

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make links"),
]

LINK = f"wg{secrets.token_hex(3)}"
THIRD = 100 + secrets.randbelow(100)
"""Of addresses."""


@pytest.fixture
def prefix(tmp_path: Path) -> Iterator[str]:
    """Addresses of the test's own; what it leaves on the host goes with it."""
    with own_addresses(tmp_path) as prefix:
        yield prefix


async def overlay(scene: Scene) -> Network:
    """A network of the cluster, and the bridge that leads out."""
    network = network_at(overlay_network(third=THIRD), "127.0.0.1")
    await scene.networks.have_of_cluster(network)
    await scene.networks.create(gateway_request(LINK))
    return network


def at(last: int, network: str = "ov") -> EndpointRequest:
    return EndpointRequest(network=network, address=f"10.99.{THIRD}.{last}", is_given=True)


async def test_a_container_has_a_way_out_besides(tmp_path: Path, prefix: str) -> None:
    """Its first link is in the overlay, 1450 bytes; everything else goes by the bridge."""
    async with running(tmp_path, prefix) as scene:
        await overlay(scene)
        sandbox = await scene.start("c1", at(5))
        await scene.start("c2", at(6))
        names = [endpoint.network for endpoint in sandbox.endpoints]
        assert names == ["ov", GATEWAY_BRIDGE]
        assert sandbox.endpoints[0].mac_address == f"02:42:0a:63:{THIRD:02x}:05"
        assert sandbox.endpoints[0].gateway == ""
        assert scene.links("c1") == {
            "eth0": [f"10.99.{THIRD}.5/24"],
            "eth1": [f"{prefix}.0.2/24"],
        }
        assert scene.route("c1") == f"eth1 {prefix}.0.1"
        assert "mtu 1450" in scene.inside("c1", "ip", "link", "show", "eth0")
        assert scene.pings("c1", f"10.99.{THIRD}.6")
        assert scene.pings("c1", f"{prefix}.0.1")
        for name in ("c1", "c2"):
            await scene.sandboxes.release(name)


async def test_who_leads_out_already_gets_no_other_way(tmp_path: Path, prefix: str) -> None:
    """A container that is in a bridge too leaves by that; one in an internal overlay not at all."""
    async with running(tmp_path, prefix) as scene:
        await overlay(scene)
        await scene.create("mine")
        both = await scene.start("c1", at(5), "mine")
        assert [endpoint.network for endpoint in both.endpoints] == ["ov", "mine"]
        inner = network_at(overlay_network("inner", third=THIRD + 1, internal=True), "127.0.0.1")
        await scene.networks.have_of_cluster(inner)
        request = EndpointRequest(network="inner", address=f"10.99.{THIRD + 1}.5", is_given=True)
        alone = await scene.start("c2", request)
        assert [endpoint.network for endpoint in alone.endpoints] == ["inner"]
        assert scene.route("c2") == ""


async def test_addresses_are_the_managers(tmp_path: Path, prefix: str) -> None:
    """Without one there is no place in an overlay; neither with a MAC address of one's own."""
    async with running(tmp_path, prefix) as scene:
        await overlay(scene)
        with pytest.raises(InvalidParameter, match="managers have given no address"):
            await scene.start("c1", EndpointRequest(network="ov", is_given=True))
        own = replace(at(5), mac_address="02:00:00:00:00:07")
        with pytest.raises(InvalidParameter, match="cannot be chosen"):
            await scene.start("c1", own)
        assert scene.sandboxes.endpoints("c1") == ()


class Managers:
    """Give places in `ov`, one after the other, which is known here from then on."""

    def __init__(self, scene: Scene, network: Network) -> None:
        self.scene, self.network = scene, network
        self.given: dict[str, str] = {}
        self.names: Sequence[str] = ()

    async def attach(
        self, network: str, container_id: str, address: str, names: Sequence[str]
    ) -> Given:
        self.names = names
        if network not in (self.network.id, self.network.name):
            raise NotFound(f"network {network} not found")
        await self.scene.networks.have_of_cluster(self.network)
        self.given[container_id] = address or f"10.99.{THIRD}.{50 + len(self.given)}"
        return Given(network_id=self.network.id, address=self.given[container_id])

    def left(self, container_id: str, network_id: str) -> None:
        if network_id == self.network.id:
            self.given.pop(container_id, None)


async def test_managers_are_asked_for_places(tmp_path: Path, prefix: str) -> None:
    """Of a container started by hand: by name, at its start or later; and told when it leaves."""
    async with running(tmp_path, prefix) as scene:
        network = network_at(overlay_network(third=THIRD), "127.0.0.1")
        await scene.networks.create(gateway_request(LINK))
        with pytest.raises(NotFound):
            await scene.start("c1", "ov")
        managers = Managers(scene, network)
        scene.sandboxes.attach_by(managers)
        sandbox = await scene.start("c1", "ov")
        assert sandbox.endpoints[0].address == f"10.99.{THIRD}.50"
        with pytest.raises(NotFound):
            await scene.start("c2", "ov", "nowhere")
        assert list(managers.given) == ["c1"]
        await scene.create("mine")
        await scene.start("c3", "mine")
        endpoint = await scene.sandboxes.reserve_one(
            "c3", EndpointRequest(network="ov", address=f"10.99.{THIRD}.77", names=("three",))
        )
        assert managers.names == ("three",)
        await scene.sandboxes.plug_in("c3", endpoint, pid=0)
        assert managers.given == {"c1": f"10.99.{THIRD}.50", "c3": f"10.99.{THIRD}.77"}
        with pytest.raises(Forbidden, match="already exists"):
            await scene.sandboxes.reserve_one("c3", EndpointRequest(network="ov"))
        await scene.sandboxes.unplug("c3", endpoint, pid=0)
        await scene.sandboxes.release("c1")
        assert managers.given == {}


async def test_connected_while_it_runs(tmp_path: Path, prefix: str) -> None:
    """A container gets a link in an overlay and loses it; the follower hears of the first."""
    heard: list[str] = []

    async def follow(container_id: str, namespace: Path) -> None:
        assert namespace.exists()
        heard.append(container_id)

    async with running(tmp_path, prefix) as scene:
        await overlay(scene)
        scene.sandboxes.follow_overlays(follow)
        await scene.create("mine")
        await scene.start("c1", "mine")
        await scene.start("c2", at(6))
        endpoint = await scene.sandboxes.reserve_one("c1", at(5))
        await scene.sandboxes.plug_in("c1", endpoint, pid=0)
        assert heard == ["c2", "c1"]
        assert scene.pings("c1", f"10.99.{THIRD}.6")
        await scene.sandboxes.unplug("c1", endpoint, pid=0)
        assert list(scene.links("c1")) == ["eth0"]


async def test_after_a_kill_all_is_known_again(tmp_path: Path, prefix: str) -> None:
    """The network stands in a row, its namespace is held; who is adopted keeps its address."""
    async with running(tmp_path, prefix) as scene:
        network = await overlay(scene)
        sandbox = await scene.start("c1", at(5))
    async with running(tmp_path, prefix) as scene:
        assert scene.networks.of_cluster() == [network]
        scene.sandboxes.adopt("c1", sandbox.endpoints)
        with pytest.raises(Forbidden, match="Address already in use"):
            await scene.start("c2", at(5))
        await scene.start("c3", at(7))
        assert scene.pings("c1", f"10.99.{THIRD}.7")
        assert not await scene.networks.drop_of_cluster(network.id)
        for name in ("c1", "c3"):
            await scene.sandboxes.release(name)
        assert await scene.networks.drop_of_cluster(network.id)
        assert scene.networks.of_cluster() == []
        assert enter_namespace(tmp_path / "overlays" / network.id) is None
    make_namespace(tmp_path / "overlays" / "stray").close()
    async with running(tmp_path, prefix) as scene:
        assert scene.networks.of_cluster() == []
        assert enter_namespace(tmp_path / "overlays" / "stray") is None


async def test_what_was_not_made_is_tried_again(tmp_path: Path, prefix: str) -> None:
    """A network whose VXLAN id somebody has is told of, and made once that one is gone."""
    async with running(tmp_path, prefix) as scene:
        network = await overlay(scene)
        taken = network.subnets[0].vxlan_id
        other = network_at(overlay_network("other", third=THIRD, vxlan_id=taken), "127.0.0.1")
        for _ in range(2):
            with pytest.raises(EngineError, match="has the VXLAN id"):
                await scene.networks.have_of_cluster(other)
        assert await scene.networks.drop_of_cluster(network.id)
        await scene.networks.have_of_cluster(other)
        await scene.start("c1", at(5, "other"))


async def test_clients_cannot_take_it_away(tmp_path: Path, prefix: str) -> None:
    """Neither by its name nor with all that nobody uses."""
    async with running(tmp_path, prefix) as scene:
        network = await overlay(scene)
        with pytest.raises(Forbidden, match="remove it on a manager"):
            await scene.networks.remove("ov")
        assert "ov" not in await scene.networks.prune(NetworkFilters())
        assert scene.networks.of_cluster() == [network]
