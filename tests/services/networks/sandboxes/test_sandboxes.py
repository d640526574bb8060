"""Containers' links on the real kernel: made, added, taken away, found again."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from services.errors import EngineError, Forbidden, InvalidParameter, NotFound
from services.networks import EndpointRequest, SubnetRequest, model
from services.networks.endpoints import gateways
from services.networks.kernel.host_links import link_mtu
from services.networks.sandboxes import inside
from services.networks.sandboxes.attach import set_routes
from tests.services.networks.scene import (
    Scene,
    host_links,
    is_held,
    links_on,
    own_addresses,
    running,
)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make links"),
]


@pytest.fixture
def prefix(tmp_path: Path) -> Iterator[str]:
    """Addresses of the test's own; bridges and namespaces that it leaves go with it."""
    with own_addresses(tmp_path) as prefix:
        yield prefix


async def connect(scene: Scene, container_id: str, request: EndpointRequest | str) -> str:
    """docker network connect; the link's name."""
    if isinstance(request, str):
        request = EndpointRequest(network=request)
    endpoint = await scene.sandboxes.reserve_one(container_id, request)
    await scene.sandboxes.plug_in(container_id, endpoint, pid=0)
    return endpoint.interface


async def disconnect(scene: Scene, container_id: str, network: str) -> None:
    """docker network disconnect."""
    (endpoint,) = (e for e in scene.sandboxes.endpoints(container_id) if e.network == network)
    await scene.sandboxes.unplug(container_id, endpoint, pid=0)


async def test_a_container_in_two_networks(tmp_path: Path, prefix: str) -> None:
    """Both links are whole when `connect` returns; the first name leads out; packets flow."""
    async with running(tmp_path, prefix) as scene:
        await scene.create("a", ipv6=True)
        await scene.create("b")
        sandbox = await scene.start("c1", "b", "a")
        await scene.start("c2", "b")
        six = sandbox.endpoints[1].address6
        assert scene.links("c1") == {
            "eth0": [f"{prefix}.1.2/24"],
            "eth1": [f"{prefix}.0.2/24", f"{six}/64"],
        }
        assert scene.route("c1") == f"eth1 {prefix}.0.1"
        assert scene.route("c1", 6) == f"eth1 {sandbox.endpoints[1].gateway6}"
        assert scene.pings("c1", f"{prefix}.1.3")
        assert scene.pings("c1", f"{prefix}.0.1")
        assert scene.pings("c1", sandbox.endpoints[1].gateway6)
        with pytest.raises(Forbidden) as refused:
            await scene.networks.remove("b")
        assert 'network b has active endpoints (name:"c1" id:"' in str(refused.value)
        assert ', name:"c2" id:"' in str(refused.value)
        for name in ("c1", "c2"):
            await scene.sandboxes.release(name)
        await scene.networks.remove("b")


async def test_what_is_asked_for(tmp_path: Path, prefix: str) -> None:
    """Addresses, a MAC address, a link's name and prefix, a setting, a second address."""
    async with running(tmp_path, prefix) as scene:
        await scene.create(
            subnets=(SubnetRequest(subnet=f"{prefix}.5.0/24"), SubnetRequest(subnet="fd77:1::/64")),
            ipv6=True,
            options={model.INTERFACE_PREFIX: "net", model.MTU: "1300"},
        )
        request = EndpointRequest(
            network="n",
            address=f"{prefix}.5.77",
            address6="fd77:1::77",
            mac_address="02-00-00-00-00-07",
            link_local=("169.254.7.7",),
            sysctls=("net.ipv4.conf.IFNAME.log_martians=1",),
        )
        await scene.start("c1", request)
        named = EndpointRequest(network="n", interface="lan0")
        await scene.start("c2", named)
        text = scene.inside("c1", "ip", "addr", "show", "net0")
        for part in (
            "link/ether 02:00:00:00:00:07",
            f"{prefix}.5.77/24",
            "fd77:1::77/64",
            "169.254.7.7/16",
            "mtu 1300",
        ):
            assert part in text
        assert scene.inside("c1", "cat", "/proc/sys/net/ipv4/conf/net0/log_martians") == "1\n"
        assert list(scene.links("c2")) == ["lan0"]
        with pytest.raises(Forbidden, match="Address already in use"):
            await scene.start("c3", EndpointRequest(network="n", address=f"{prefix}.5.77"))
        assert scene.sandboxes.endpoints("c3") == ()


async def test_packets_may_be_too_small_for_ipv6(tmp_path: Path, prefix: str) -> None:
    """A link of less than 1280 bytes has no IPv6 in Linux: nothing is to be switched off there."""
    async with running(tmp_path, prefix) as scene:
        network = await scene.create(options={model.MTU: "1200"})
        assert link_mtu(network.link) == 1200
        await scene.start("c1", "n")
        await scene.start("c2", "n")
        assert "mtu 1200" in scene.inside("c1", "ip", "addr", "show", "eth0")
        assert scene.pings("c1", f"{prefix}.0.3")


async def test_an_unknown_setting_is_told_of(tmp_path: Path, prefix: str) -> None:
    """The start fails, and says which one."""
    async with running(tmp_path, prefix) as scene:
        await scene.create()
        request = EndpointRequest(network="n", sysctls=("net.ipv4.conf.IFNAME.nope=1",))
        with pytest.raises(EngineError, match="failed to set a network interface's sysctl"):
            await scene.start("c1", request)


async def test_internal_networks_lead_nowhere(tmp_path: Path, prefix: str) -> None:
    """No gateway, no default route; whoever is in it is reached."""
    async with running(tmp_path, prefix) as scene:
        await scene.create(internal=True)
        sandbox = await scene.start("c1", "n")
        await scene.start("c2", "n")
        assert sandbox.endpoints[0].gateway == ""
        assert scene.route("c1") == ""
        assert scene.pings("c1", f"{prefix}.0.3")


async def test_a_link_more_and_a_link_less(tmp_path: Path, prefix: str) -> None:
    """Seen inside at once; the way out follows; who comes back has its address again."""
    async with running(tmp_path, prefix) as scene:
        for name in ("a", "b", "c"):
            await scene.create(name, ipv6=name == "c")
        await scene.start("c1", "b")
        assert await connect(scene, "c1", "a") == "eth1"
        assert scene.route("c1") == f"eth1 {prefix}.0.1"
        request = EndpointRequest(network="c", gateway_priority=1, interface="up0")
        assert await connect(scene, "c1", request) == "up0"
        assert scene.route("c1").startswith("up0 ")
        assert scene.route("c1", 6).startswith("up0 ")
        assert scene.pings("c1", f"{prefix}.0.1")
        with pytest.raises(Forbidden, match="already exists"):
            await connect(scene, "c1", "a")
        await disconnect(scene, "c1", "c")
        assert (scene.route("c1"), scene.route("c1", 6)) == (f"eth1 {prefix}.0.1", "")
        await disconnect(scene, "c1", "a")
        await disconnect(scene, "c1", "b")
        assert (scene.links("c1"), scene.route("c1")) == ({}, "")
        assert await connect(scene, "c1", "a") == "eth0"
        assert scene.links("c1") == {"eth0": [f"{prefix}.0.2/24"]}
        await scene.networks.remove("b")


async def test_macvlan_links(tmp_path: Path, prefix: str) -> None:
    """At the start and later; the host's end is the parent, and none of them stays there."""
    async with running(tmp_path, prefix) as scene:
        await scene.create("a")
        network = await scene.create("m", driver="macvlan")
        before = links_on(network.link)
        await scene.start("c1", "m")
        await scene.start("c2", "a")
        assert await connect(scene, "c2", "m") == "eth1"
        assert list(scene.links("c1")) == ["eth0"]
        assert scene.pings("c2", scene.links("c1")["eth0"][0].partition("/")[0])
        await disconnect(scene, "c2", "m")
        assert list(scene.links("c2")) == ["eth0"]
        assert links_on(network.link) == before


async def test_a_parent_may_be_too_small_for_ipv6(tmp_path: Path, prefix: str) -> None:
    """The links made on it are as small, and have no IPv6 to be switched off."""
    async with running(tmp_path, prefix) as scene:
        parent = await scene.create("a", options={model.MTU: "1200"})
        await scene.create(
            "m",
            driver="macvlan",
            options={"parent": parent.link},
            subnets=(SubnetRequest(subnet=f"{prefix}.40.0/24"),),
        )
        await scene.start("c1", "m")
        await scene.start("c2", "m")
        await scene.start("c3", "a")  # a parent that nobody is on carries nothing
        assert "mtu 1200" in scene.inside("c1", "ip", "link", "show", "eth0")
        assert scene.pings("c1", scene.links("c2")["eth0"][0].partition("/")[0])
        assert await connect(scene, "c1", "a") == "eth1"


async def test_packets_too_small_for_an_ipv6_address(tmp_path: Path, prefix: str) -> None:
    """The start says so, and of which link; a bridge's own are known beforehand."""
    async with running(tmp_path, prefix) as scene:
        small = {model.MTU: "1200"}
        parent = await scene.create("a", options=small)
        await scene.create("m", driver="macvlan", options={"parent": parent.link}, ipv6=True)
        with pytest.raises(EngineError, match=f"those of {parent.link} have 1200"):
            await scene.start("c1", "m")
        with pytest.raises(InvalidParameter, match="IPv6 needs packets of 1280 bytes"):
            await scene.create("b", options=small, ipv6=True)


async def test_a_parent_of_ones_own(tmp_path: Path, prefix: str) -> None:
    """The gateway is somebody out there; every mode is the kernel's."""
    async with running(tmp_path, prefix) as scene:
        shared, own = await scene.create("a"), await scene.create("b")
        for number, mode in enumerate(("bridge", "private", "vepa", "passthru")):
            name, out = f"m{number}", own if mode == "passthru" else shared
            await scene.create(
                name,
                driver="macvlan",
                options={"parent": out.link, "macvlan_mode": mode},
                subnets=(SubnetRequest(subnet=f"{prefix}.{40 + number}.0/24"),),
            )
            await scene.start("c1", name)
            assert scene.route("c1") == f"eth0 {prefix}.{40 + number}.1"
            assert f"macvlan mode {mode}" in scene.inside("c1", "ip", "-d", "link", "show", "eth0")
            await scene.sandboxes.release("c1")
            await scene.networks.remove(name)
        assert {shared.link, own.link} <= host_links()


async def test_a_routed_link_needs_no_gateway(tmp_path: Path, prefix: str) -> None:
    """Everything is at the link then; beside another one the priority tells."""
    async with running(tmp_path, prefix) as scene:
        await scene.create("m", driver="macvlan")
        await scene.create("n")
        (made,) = (await scene.start("c1", "m")).endpoints
        await connect(scene, "c1", "n")
        routed = dataclasses.replace(made, is_routed=True, gateway_priority=1)
        (other,) = (e for e in scene.sandboxes.endpoints("c1") if e.network == "n")
        with inside.entered(tmp_path / "netns" / "c1") as netlink:
            set_routes(netlink, gateways([other, routed]))
        text = scene.inside("c1", "ip", "route", "show", "default").split()
        assert text[:3] == ["default", "dev", "eth0"]
        with inside.entered(tmp_path / "netns" / "c1") as netlink:
            set_routes(netlink, gateways([other]))
        assert scene.route("c1") == f"eth1 {other.gateway}"


async def test_namespaces_of_an_earlier_life_are_found(tmp_path: Path, prefix: str) -> None:
    """After a kill -9 the directory tells what there was, to be dropped or kept."""
    async with running(tmp_path, prefix) as scene:
        network = await scene.create()
        alive = await scene.start("alive", "n")
        await scene.start("dead", "n")
    async with running(tmp_path, prefix) as scene:
        scene.sandboxes.adopt("alive", alive.endpoints)
        assert await scene.sandboxes.held() == ["alive", "dead"]
        await scene.sandboxes.release("dead")
        assert await scene.sandboxes.held() == ["alive"]
        (third,) = (await scene.start("third", "n")).endpoints
        assert third.address == f"{prefix}.0.3"  # not that of the one that lives
        assert scene.pings("third", alive.endpoints[0].address)
        assert scene.networks.members.is_used(network.id)
        for name in ("alive", "third"):
            await scene.sandboxes.release(name)
        assert not scene.networks.members.is_used(network.id)
        assert not is_held(tmp_path / "netns" / "alive")
    with trio.fail_after(30):
        while any(n.startswith("veth") for n in _ports(network.link)):
            await trio.sleep(0.02)  # reaped by the kernel a moment later


def _ports(link: str) -> list[str]:
    directory = Path("/sys/class/net") / link / "brif"
    return [path.name for path in directory.iterdir()] if directory.is_dir() else []


async def test_what_others_hold_loses_its_links(tmp_path: Path, prefix: str) -> None:
    """A container that shares the namespace keeps it; the addresses are somebody else's."""
    async with running(tmp_path, prefix) as scene:
        await scene.create("a")
        await scene.create("b")
        await scene.start("c1", "a", "b")
        holder = (tmp_path / "netns" / "c1").open()
        with holder:
            await scene.sandboxes.release("c1", held_by_others=True)
            assert not [n for n in host_links() if n in _all_ports(scene)]


def _all_ports(scene: Scene) -> list[str]:
    return [port for name in ("a", "b") for port in _ports(scene.networks.find(name).link)]


async def test_a_loose_link_is_taken_away(tmp_path: Path, prefix: str) -> None:
    """Of a connect that was cut off: the record does not have it, so the kernel shall not."""
    async with running(tmp_path, prefix) as scene:
        await scene.create("a")
        await scene.create("b")
        sandbox = await scene.start("c1", "b")
        endpoint = await scene.sandboxes.reserve_one("c1", EndpointRequest(network="a"))
        await scene.sandboxes.plug_in("c1", endpoint, pid=0)
    async with running(tmp_path, prefix) as scene:
        scene.sandboxes.adopt("c1", sandbox.endpoints)
        for _ in range(2):  # gone already is fine
            await scene.sandboxes.unplug("c1", endpoint, pid=0)
            assert scene.links("c1") == {"eth0": [f"{prefix}.1.2/24"]}
            assert scene.route("c1") == f"eth0 {prefix}.1.1"
        await scene.sandboxes.release("c1")


async def test_a_link_that_is_not_given_up_is_held_until_it_is(
    tmp_path: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address is nobody else's and its network stays; then both are free at once."""

    def refused(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    async with running(tmp_path, prefix) as scene:
        network = await scene.create("a")
        await scene.create("b")
        await scene.start("c1", "b")
        endpoint = await scene.sandboxes.reserve_one("c1", EndpointRequest(network="a"))
        await scene.sandboxes.plug_in("c1", endpoint, pid=0)
        with monkeypatch.context() as patch:
            patch.setattr(inside, "detach", refused)
            with pytest.raises(EngineError, match="Device or resource busy"):
                await scene.sandboxes.unplug("c1", endpoint, pid=0)
        assert scene.networks.members.is_used(network.id)
        assert sorted(scene.links("c1")) == ["eth0", "eth1"]
        (other,) = (await scene.start("c2", "a")).endpoints
        assert other.address != endpoint.address
        await scene.sandboxes.release("c2")
        for _ in range(2):
            await scene.sandboxes.unplug("c1", endpoint, pid=0)
            assert not scene.networks.members.is_used(network.id)
            assert sorted(scene.links("c1")) == ["eth0"]
        request = EndpointRequest(network="a", address=endpoint.address)
        await scene.sandboxes.reserve("c3", [request])
        await scene.sandboxes.unplug("c1", endpoint, pid=0)  # it has nothing to give back any more
        with pytest.raises(EngineError, match="already in use"):
            await scene.sandboxes.reserve("c4", [request])
        for name in ("c1", "c3"):
            await scene.sandboxes.release(name)


async def test_a_link_whose_namespace_is_gone_is_given_back(tmp_path: Path, prefix: str) -> None:
    """The container has ended meanwhile: that is no reason to hold an address."""
    async with running(tmp_path, prefix) as scene:
        network = await scene.create("a")
        endpoint = await scene.sandboxes.reserve_one("c1", EndpointRequest(network="a"))
        with pytest.raises(EngineError, match="namespace is gone"):
            await scene.sandboxes.plug_in("c1", endpoint, pid=0)
        await scene.sandboxes.unplug("c1", endpoint, pid=0)
        assert not scene.networks.members.is_used(network.id)


async def test_a_link_that_cannot_be_made_leaves_nothing(tmp_path: Path, prefix: str) -> None:
    """The container has the links that it had, and the address is free again."""
    async with running(tmp_path, prefix) as scene:
        await scene.create("a")
        await scene.create("b")
        await scene.start("c1", "b")
        scene.inside("c1", "ip", "link", "add", "eth1", "type", "bridge")
        endpoint = await scene.sandboxes.reserve_one("c1", EndpointRequest(network="a"))
        with pytest.raises(EngineError, match="File exists"):
            await scene.sandboxes.plug_in("c1", endpoint, pid=0)
        scene.sandboxes.cancel("c1", endpoint)
        assert endpoint.host_link not in host_links()
        assert [e.network for e in scene.sandboxes.endpoints("c1")] == ["b"]
        await scene.networks.remove("a")


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        (EndpointRequest(network="x"), NotFound, "network x not found"),
        (EndpointRequest(network="n", address="nonsense"), InvalidParameter, "invalid IPv4"),
        (EndpointRequest(network="n", address="8.8.8.8"), InvalidParameter, "no configured subnet"),
        (EndpointRequest(network="n", address6="fd00::9"), InvalidParameter, "has no IPv6"),
        (EndpointRequest(network="n", mac_address="02:42"), InvalidParameter, "invalid MAC"),
        (EndpointRequest(network="n", link_local=("x",)), InvalidParameter, "invalid link-local"),
        (EndpointRequest(network="conf"), Forbidden, "is a configuration network"),
    ],
)
async def test_impossible_requests(
    tmp_path: Path,
    prefix: str,
    request_: EndpointRequest,
    error: type[EngineError],
    text: str,
) -> None:
    """Refused by name; the next container gets the first address."""
    async with running(tmp_path, prefix) as scene:
        await scene.create("n")
        await scene.create("conf", config_only=True)
        with pytest.raises(error, match=text):
            await scene.start("a", request_)
        sandbox = await scene.start("b", "n")
        assert sandbox.endpoints[0].address == f"{prefix}.0.2"
        await scene.sandboxes.release("b")
