"""Networks: their records and their links, also when the engine is killed between the two."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

import msgspec
import pytest
import trio

from services.errors import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidParameter,
    NotFound,
    Unavailable,
)
from services.networks import BridgeConfig, NetworkFilters, SubnetRequest, model
from services.networks.kernel.host_links import address_of, addresses6_of, is_bridge, link_mtu
from services.networks.model import Stage
from tests.services.networks.scene import (
    Scene,
    delete_links,
    host_links,
    own_addresses,
    own_link,
    running,
)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make links"),
]


@pytest.fixture
def prefix(tmp_path: Path) -> Iterator[str]:
    """Addresses of the test's own; the bridges that it leaves go with it."""
    with own_addresses(tmp_path) as prefix:
        yield prefix


async def test_a_network_has_a_bridge_while_it_is_there(tmp_path: Path, prefix: str) -> None:
    """With its gateway's addresses; told of when it is whole, and when it is gone."""
    async with running(tmp_path, prefix) as scene:
        network = await scene.create(ipv6=True, options={model.MTU: "1400"})
        assert network.stage is Stage.PRESENT
        assert is_bridge(network.link)
        assert address_of(network.link) == IPv4Interface(f"{prefix}.0.1/24")
        own6 = network.of_version(6)[0]
        assert addresses6_of(network.link) == [
            IPv6Interface(f"{own6.gateway}/{own6.prefix.prefixlen}")
        ]
        assert link_mtu(network.link) == 1400
        assert await scene.told() == [("create", "n")]
        for ref in ("n", network.id, network.id[:5]):
            assert (await scene.networks.get(ref)).id == network.id
        await scene.networks.remove("n")
        assert network.link not in host_links()
        assert await scene.told() == [("create", "n"), ("destroy", "n")]
        with pytest.raises(NotFound, match="network n not found"):
            await scene.networks.get("n")


async def test_networks_outlive_the_engine(tmp_path: Path, prefix: str) -> None:
    """Their links are made again after a restart of the machine; nobody is told anything."""
    async with running(tmp_path, prefix) as scene:
        network = await scene.create(labels={"a": "b"})
    delete_links([network.link])
    async with running(tmp_path, prefix) as scene:
        assert await scene.networks.get("n") == network
        assert address_of(network.link) == IPv4Interface(f"{prefix}.0.1/24")
        second = await scene.create("m")
        assert second.subnets[0].subnet == f"{prefix}.1.0/24"
        assert await scene.told() == [("create", "n"), ("create", "m")]


@pytest.mark.parametrize("has_link", [False, True])
async def test_a_network_that_was_being_made_is_taken_away(
    tmp_path: Path, prefix: str, has_link: bool
) -> None:
    """Killed before it was told of: as if it had never been asked for."""
    async with running(tmp_path, prefix) as scene:
        network = await scene.create()
        making = msgspec.structs.replace(network, stage=Stage.MAKING)
        await scene.networks._catalog.put(making)
    if not has_link:
        delete_links([network.link])
    async with running(tmp_path, prefix) as scene:
        assert network.link not in host_links()
        assert [n.name for n in await scene.networks.select(NetworkFilters())] == ["host", "none"]
        assert (await scene.create()).subnets == network.subnets


async def test_a_removal_is_finished(tmp_path: Path, prefix: str) -> None:
    """Killed in the middle of it: the next engine tells of its end."""
    async with running(tmp_path, prefix) as scene:
        network = await scene.create()
        await scene.networks._catalog.move(network, Stage.REMOVING)
    async with running(tmp_path, prefix) as scene:
        assert network.link not in host_links()
        assert await scene.told() == [("create", "n"), ("destroy", "n")]


async def test_a_link_that_was_there_stays(tmp_path: Path, prefix: str) -> None:
    """A bridge of the user's own is used, and not deleted."""
    name = own_link(prefix)
    async with running(tmp_path, prefix) as scene:
        first = await scene.create(options={model.BRIDGE_NAME: name})
        assert (first.link, first.owns_link) == (name, True)
        with pytest.raises(Forbidden, match="networks have same bridge name"):
            await scene.create("m", options={model.BRIDGE_NAME: name})
        await scene.networks._catalog.delete(first)  # it is the user's from now on
        second = await scene.create(options={model.BRIDGE_NAME: name})
        assert not second.owns_link
        await scene.networks.remove("n")
        assert name in host_links()


async def test_what_cannot_be_made_leaves_nothing(tmp_path: Path, prefix: str) -> None:
    """The name and the subnet are free again, and nobody was told."""
    async with running(tmp_path, prefix) as scene:
        with pytest.raises(Forbidden, match="existing interface lo is not a bridge"):
            await scene.create(options={model.BRIDGE_NAME: "lo"})
        with pytest.raises(EngineError, match="parent interface does not exist on the host: wtx"):
            await scene.create(driver="macvlan", options={"parent": "wtx.5"})
        assert (await scene.create()).subnets[0].subnet == f"{prefix}.0.0/24"
        assert await scene.told() == [("create", "n")]


async def test_names_are_unique(tmp_path: Path, prefix: str) -> None:
    """Also while two ask at once."""
    async with running(tmp_path, prefix) as scene:
        failures = []

        async def create() -> None:
            try:
                await scene.create()
            except Conflict as error:
                failures.append(str(error))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(create)
        assert failures == ["network with name n already exists"] * 2


async def test_an_inhibited_bridge_has_no_address(tmp_path: Path, prefix: str) -> None:
    """The gateway is somebody else."""
    async with running(tmp_path, prefix) as scene:
        network = await scene.create(options={model.INHIBIT_IPV4: "1"})
        assert address_of(network.link) is None
        assert network.subnets[0].gateway == f"{prefix}.0.1"


async def test_predefined_networks_stay(tmp_path: Path, prefix: str) -> None:
    """They cannot be removed, and are not pruned."""
    async with running(tmp_path, prefix) as scene:
        with pytest.raises(Forbidden, match="host is a pre-defined network and cannot be removed"):
            await scene.networks.remove("host")
        assert await scene.networks.prune(NetworkFilters()) == []
        assert await scene.told() == [("prune", "")]


async def test_a_prune(tmp_path: Path, prefix: str) -> None:
    """What nobody is in, as far as the filters go; configurations stay."""
    async with running(tmp_path, prefix) as scene:
        await scene.create("kept", labels={"keep": "1"})
        await scene.create("conf", config_only=True)
        await scene.create("used")
        await scene.create("gone")
        await scene.start("c1", "used")
        names = await scene.networks.prune(NetworkFilters(not_labels=("keep",), is_dangling=True))
        assert names == ["gone"]
        await scene.sandboxes.release("c1")
        assert sorted(await scene.networks.prune(NetworkFilters())) == ["kept", "used"]


async def test_a_configuration_in_use_stays(tmp_path: Path, prefix: str) -> None:
    """It is no network that is told of at its end."""
    async with running(tmp_path, prefix) as scene:
        await scene.create("conf", config_only=True)
        await scene.create("n", config_from="conf")
        with pytest.raises(Forbidden, match='configuration network "conf" is in use'):
            await scene.networks.remove("conf")
        await scene.networks.remove("n")
        await scene.networks.remove("conf")
        assert [action for action, _ in await scene.told()] == ["create", "create", "destroy"]


async def test_an_ambiguous_beginning_is_refused(tmp_path: Path, prefix: str) -> None:
    """Of an id; a name goes before."""
    async with running(tmp_path, prefix) as scene:
        ids = [(await scene.create(f"n{number}", config_only=True)).id for number in range(17)]
        first = next(one[0] for one in ids if sum(two[0] == one[0] for two in ids) > 1)
        with pytest.raises(InvalidParameter, match="matches found based on ID prefix"):
            await scene.networks.get(first)
        named = await scene.create(first, config_only=True)
        assert (await scene.networks.get(first)).id == named.id


async def test_a_macvlan_without_a_parent(tmp_path: Path, prefix: str) -> None:
    """Has a link of its own, which goes with it."""
    async with running(tmp_path, prefix) as scene:
        network = await scene.create(driver="macvlan")
        assert network.link in host_links()
        await scene.networks.remove("n")
        assert network.link not in host_links()


# -- the default bridge ------------------------------------------------------------------------


def bridge(prefix: str, **fields: object) -> BridgeConfig:
    values = {"name": own_link(prefix), "address": IPv4Interface(f"{prefix}.9.1/24")}
    return BridgeConfig(**(values | fields))  # type: ignore[arg-type]


async def test_the_default_bridge_is_made_and_kept(tmp_path: Path, prefix: str) -> None:
    """Its addresses outlive the engine, also those that were chosen."""
    config = bridge(prefix, address=None, ipv6=True)
    async with running(tmp_path, prefix, config) as scene:
        shown = await scene.networks.get("bridge")
        assert shown.subnets[0].subnet == f"{prefix}.0.0/24"
        assert [subnet.prefix.version for subnet in shown.subnets] == [4, 6]
    async with running(tmp_path, prefix, config) as scene:
        again = await scene.networks.get("bridge")
        assert [s.subnet for s in again.subnets] == [s.subnet for s in shown.subnets]
        assert address_of(config.name) == IPv4Interface(f"{prefix}.0.1/24")


async def test_its_range_and_its_gateway(tmp_path: Path, prefix: str) -> None:
    """--fixed-cidr and --default-gateway: containers get these."""
    config = bridge(
        prefix,
        allowed=IPv4Interface(f"{prefix}.9.64/26").network,
        gateway=IPv4Interface(f"{prefix}.9.200/24").ip,
    )
    async with running(tmp_path, prefix, config) as scene:
        sandbox = await scene.start("c1", "bridge")
        (endpoint,) = sandbox.endpoints
        assert (endpoint.address, endpoint.gateway) == (f"{prefix}.9.64", f"{prefix}.9.200")
        assert scene.route("c1") == f"eth0 {prefix}.9.200"
        await scene.sandboxes.release("c1")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"gateway": IPv4Interface("1.2.3.4/24").ip}, "default gateway 1.2.3.4 must be part of"),
        ({"allowed": IPv4Interface("1.2.3.0/24").network}, "is not in the subnet"),
    ],
)
async def test_flags_that_contradict_each_other(
    tmp_path: Path, prefix: str, fields: dict[str, object], text: str
) -> None:
    """The networks do not come up; the log says why."""
    scene = Scene(tmp_path, prefix, bridge(prefix, **fields))
    with pytest.RaisesGroup(InvalidParameter, allow_unwrapped=True, flatten_subgroups=True) as told:
        async with trio.open_nursery() as nursery:
            for part in (scene.store, scene.bus):
                await nursery.start(part.run)
            await scene.networks.run()
    assert text in repr(told.value)


async def test_networks_that_are_not_up_cost_a_bounded_wait(
    tmp_path: Path, prefix: str, autojump_clock: trio.testing.MockClock
) -> None:
    """A dependent part waits for a while, then says so."""
    scene = Scene(tmp_path, prefix, bridge(prefix))
    with pytest.raises(Unavailable, match="networks are not up"):
        await scene.start("a", "bridge")


async def test_none_and_host_need_no_link(tmp_path: Path, prefix: str) -> None:
    """They leave the namespace to the runtime, and have ids of their own."""
    scene = Scene(tmp_path, prefix, None)
    none, host = await scene.start("a", "none"), await scene.start("b", "host")
    assert (none.endpoints[0].network, none.netns) == ("none", None)
    assert (host.endpoints[0].network, host.netns) == ("host", None)
    assert none.endpoints[0].network_id != host.endpoints[0].network_id
    assert (scene.networks.has_bridge, scene.networks.default_mode) == (False, "none")


async def test_a_network_of_one_subnet_fills_up(tmp_path: Path, prefix: str) -> None:
    """dockerd's error; an address that comes back can be had again."""
    async with running(tmp_path, prefix) as scene:
        subnets = (SubnetRequest(subnet=f"{prefix}.7.0/30"),)
        network = await scene.create(subnets=subnets)
        await scene.start("c1", "n")
        text = f"no available IPv4 addresses on this network's address pools: n \\({network.id}"
        with pytest.raises(EngineError, match=text):
            await scene.start("c2", "n")
        await scene.sandboxes.release("c1")
        await scene.start("c2", "n")
        await scene.sandboxes.release("c2")
