"""Networks of the ipvlan driver: options, plans, endpoints, and whether the kernel has them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from services.containers.config import EndpointSettings
from services.containers.networking.settings import endpoint_of, place_of, settings_of
from services.errors import EngineError, InvalidParameter, NotFound, NotSupported
from services.networks import EndpointRequest, SubnetRequest
from services.networks.drivers.ipvlan import why_no_ipvlan
from services.networks.endpoints import Endpoint, gateways
from services.networks.ipam.addresses import NetworkAddresses
from services.networks.model import Network
from services.networks.planning.ipvlan_options import MODES, parse_ipvlan_options
from services.networks.sandboxes.reserve import take_endpoint
from tests.services.networks.planning.test_plan import plan, shown
from tests.services.networks.sandboxes.test_sandboxes import prefix as prefix
from tests.services.networks.scene import host_links, own_link, running

ETH0 = {"links": {"eth0"}}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make namespaces")


def ipvlan(**options: str) -> Network:
    return plan(
        driver="ipvlan",
        around=ETH0,
        options={"parent": "eth0", **options},
        subnets=["10.1.0.0/24"],
    )


def test_what_is_not_said() -> None:
    """dockerd's defaults."""
    found = parse_ipvlan_options({"com.example.other": "x"})
    assert (found.parent, found.mode, found.flag, found.is_routed) == ("", "l2", "bridge", False)
    assert parse_ipvlan_options({"ipvlan_mode": "l3s", "ipvlan_flag": "vepa"}).is_routed


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ipvlan_mode": "l4"}, "requested ipvlan mode 'l4' is not valid, 'l2' mode is the ipvlan"),
        ({"ipvlan_flag": "x"}, "requested ipvlan flag 'x' is not valid, 'bridge' is the ipvlan"),
        ({"parent": "lo"}, "loopback interface is not a valid ipvlan parent link"),
        ({"parent": "a b"}, "invalid ipvlan parent link"),
    ],
)
def test_what_cannot_be(options: dict[str, str], text: str) -> None:
    """The client's mistake; dockerd's text."""
    with pytest.raises(InvalidParameter, match=text):
        ipvlan(**options)


def test_only_layer_2_has_a_gateway() -> None:
    """In the others the host routes; one that is named is kept, as it is in the record."""
    assert shown(ipvlan()) == [("10.1.0.0/24", "10.1.0.1")]
    for mode in ("l3", "l3s"):
        assert shown(ipvlan(ipvlan_mode=mode)) == [("10.1.0.0/24", "")]
    named = plan(
        driver="ipvlan",
        around=ETH0,
        options={"parent": "eth0", "ipvlan_mode": "l3"},
        subnets=[{"subnet": "10.1.0.0/24", "gateway": "10.1.0.9"}],
    )
    assert shown(named) == [("10.1.0.0/24", "10.1.0.9")]


def test_parents() -> None:
    """The host's own, a VLAN that is made, or one that leads nowhere."""
    assert (ipvlan().link, ipvlan().owns_link) == ("eth0", False)
    assert (ipvlan(parent="eth0.7").link, ipvlan(parent="eth0.7").owns_link) == ("eth0.7", True)
    alone = plan(driver="ipvlan", around=ETH0)
    assert (alone.link, alone.owns_link) == ("di-0123456789ab", True)
    assert [gateway for _, gateway in shown(alone)] == [""]


def test_a_parent_is_one_networks_alone() -> None:
    """It has one mode; a macvlan network beside it is the kernel's affair."""
    first = msgspec.structs.replace(ipvlan(), id="f" * 64)
    macvlan = plan(driver="macvlan", around=ETH0, options={"parent": "eth0"})
    with pytest.raises(EngineError, match="network di-ffffffffffff is already using parent inter"):
        plan(driver="ipvlan", options={"parent": "eth0"}, around={"present": [first], **ETH0})
    plan(driver="ipvlan", options={"parent": "eth0"}, around={"present": [macvlan], **ETH0})


def endpoint(network: Network, **asked: str) -> Endpoint:
    request = EndpointRequest(network="n", **asked)  # type: ignore[arg-type]
    return take_endpoint(network, NetworkAddresses(network), request, interfaces=())


def test_an_endpoint_has_its_parents_hardware_address() -> None:
    """None of its own is shown, and none can be asked for."""
    assert endpoint(ipvlan()).mac_address == ""
    with pytest.raises(InvalidParameter, match="do not support custom mac address"):
        endpoint(ipvlan(), mac_address="02:42:0a:01:00:05")


@pytest.mark.parametrize("mode", MODES)
def test_the_way_out(mode: str) -> None:
    """Through the gateway, or routed without one; the record of a run keeps which."""
    made = endpoint(ipvlan(ipvlan_mode=mode))
    assert made.leads_out
    way = gateways([made]).of(4)
    assert way is not None
    assert str(way[1]) == ("10.1.0.1" if mode == "l2" else "None")
    assert gateways([made]).of(6) is None
    known = endpoint_of(made.network, settings_of(EndpointSettings(), made), place_of(made))
    assert gateways([known]).of(4) == (known, way[1])


def test_without_a_parent_or_internal_it_leads_nowhere() -> None:
    """In any mode."""
    for options in ({}, {"ipvlan_mode": "l3"}):
        alone = plan(driver="ipvlan", around=ETH0, options=options)
        assert not endpoint(alone).leads_out
        inner = msgspec.structs.replace(ipvlan(**options), internal=True)
        assert not endpoint(inner).leads_out


def test_a_kernel_without_it_says_so() -> None:
    """Before anything is made."""
    with pytest.raises(NotSupported, match="no ipvlan here"):
        plan(driver="ipvlan", around={"unusable_drivers": {"ipvlan": "no ipvlan here"}})


# -- on this kernel -------------------------------------------------------------------------------


@pytest.fixture
def has_ipvlan() -> bool:
    """What another program finds when it tries."""
    script = "ip link add p0 type veth peer name p1 && ip link add i0 link p0 type ipvlan mode l2"
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, check=False)
    return done.returncode == 0


@needs_root
def test_the_probe_finds_what_others_find(has_ipvlan: bool) -> None:
    """And leaves nothing."""
    why = why_no_ipvlan(MODES["l2"])
    assert (why == "") is has_ipvlan
    assert has_ipvlan or why.startswith("ipvlan networks are not supported by this kernel")
    assert host_links().isdisjoint({"p0", "p1", "i0"})


@pytest.fixture
def parent(prefix: str) -> Iterator[str]:
    """A link of the host's to make others on."""
    name = own_link(prefix)
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", f"{name}x"], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    yield name
    subprocess.run(["ip", "link", "delete", name], check=True)


@needs_root
@pytest.mark.engine
@pytest.mark.parametrize("mode", MODES)
async def test_containers_on_a_parent(
    tmp_path: Path, prefix: str, parent: str, has_ipvlan: bool, mode: str
) -> None:
    """Two reach each other; the way out is by the mode. Where the kernel has none: refused."""
    async with running(tmp_path, prefix) as scene:
        options = {"parent": parent, "ipvlan_mode": mode}
        subnets = (SubnetRequest(subnet=f"{prefix}.40.0/24"),)
        if not has_ipvlan:
            with pytest.raises(NotSupported, match="not supported by this kernel"):
                await scene.create(driver="ipvlan", options=options, subnets=subnets)
            with pytest.raises(NotFound):
                await scene.networks.get("n")
            return
        await scene.create(driver="ipvlan", options=options, subnets=subnets)
        await scene.start("c1", "n")
        await scene.start("c2", "n")
        assert f"ipvlan mode {mode}" in scene.inside("c1", "ip", "-d", "link", "show", "eth0")
        address = scene.links("c2")["eth0"][0].partition("/")[0]
        assert scene.pings("c1", address)
        route = scene.inside("c1", "ip", "route", "show", "default").split()
        assert route[:3] == (["default", "via", f"{prefix}.40.1"] if mode == "l2" else route[:3])
        assert "eth0" in route
        for name in ("c1", "c2"):
            await scene.sandboxes.release(name)
        await scene.networks.remove("n")
