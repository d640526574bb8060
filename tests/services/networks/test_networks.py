"""Networks on the real kernel: namespaces, links, addresses, the way out."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
import trio

from services.errors import InvalidParameter, NotFound, NotSupported, Unavailable
from services.networks import BridgeConfig, Networks, PortMeans, Publishing

pytestmark = pytest.mark.engine


def ip(*arguments: str) -> list[dict[str, object]]:
    done = subprocess.run(["ip", "-j", *arguments], capture_output=True, text=True, check=True)
    links: list[dict[str, object]] = json.loads(done.stdout or "[]")
    return links


@pytest.fixture
def bridge() -> Iterator[BridgeConfig]:
    """A bridge of the test's own, on a subnet that nothing else uses."""
    name = f"wt{secrets.token_hex(3)}"
    address = IPv4Interface(f"10.{100 + secrets.randbelow(100)}.{secrets.randbelow(250)}.1/24")
    yield BridgeConfig(name=name, address=address)
    subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)
    subprocess.run(["nft", "delete", "table", "inet", f"wharfinger-{name}"], check=False)


def build(bridge: BridgeConfig | None, directory: Path) -> Networks:
    publishing = Publishing(firewall=None, proxy=None, means=PortMeans(has_firewall=False))
    return Networks(
        bridge=bridge,
        firewall=None,
        publishing=publishing,
        netns_directory=directory / "netns",
        engine_id="e",
    )


async def test_a_container_on_the_bridge_gets_address_route_and_reaches_the_gateway(
    bridge: BridgeConfig, tmp_path: Path
) -> None:
    """The namespace that the task will join is complete when `connect` returns."""
    networks = build(bridge, tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(networks.run)
        sandbox = await networks.reserve("c1", "default")
        await networks.connect(sandbox)
        assert sandbox.netns is not None
        inside = f"--net={sandbox.netns}"
        assert bridge.address is not None
        assert sandbox.endpoint.address == str(bridge.address.ip + 1)
        done = subprocess.run(
            ["nsenter", inside, "ip", "-j", "addr"], capture_output=True, text=True, check=True
        )
        links = {link["ifname"]: link for link in json.loads(done.stdout)}
        assert "UP" in links["lo"]["flags"]
        assert links["eth0"]["address"] == sandbox.endpoint.mac_address
        local = [a["local"] for a in links["eth0"]["addr_info"] if a["family"] == "inet"]
        assert local == [sandbox.endpoint.address]
        ping = ["nsenter", inside, "busybox", "ping", "-c1", "-W2", str(bridge.address.ip)]
        done = subprocess.run(ping, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        await networks.release("c1", sandbox.endpoint.address)
        assert not sandbox.netns.exists()
        nursery.cancel_scope.cancel()


async def test_namespaces_of_an_earlier_life_are_found(
    bridge: BridgeConfig, tmp_path: Path
) -> None:
    """After a kill -9 the directory tells what there was, to be dropped or kept."""
    before = build(bridge, tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(before.run)
        for name in ("dead", "alive"):
            await before.connect(await before.reserve(name, "bridge"))
        nursery.cancel_scope.cancel()
    after = build(bridge, tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(after.run)
        assert await after.held() == ["alive", "dead"]
        await after.release("dead", "")
        assert await after.held() == ["alive"]
        await after.release("alive", "")
        nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        while ip("link", "show", "master", bridge.name):  # reaped by the kernel a moment later
            await trio.sleep(0.02)


async def test_an_adopted_address_is_not_given_to_another(
    bridge: BridgeConfig, tmp_path: Path
) -> None:
    """A container that runs on over our restart keeps its address to itself."""
    networks = build(bridge, tmp_path)
    assert bridge.address is not None
    networks.adopt("c1", str(bridge.address.ip + 1))
    async with trio.open_nursery() as nursery:
        await nursery.start(networks.run)
        sandbox = await networks.reserve("c2", "bridge")
        assert sandbox.endpoint.address == str(bridge.address.ip + 2)
        nursery.cancel_scope.cancel()


async def test_none_and_host_need_no_bridge(tmp_path: Path) -> None:
    """They leave the namespace to the runtime, and have ids of their own."""
    networks = build(None, tmp_path)
    none, host = await networks.reserve("a", "default"), await networks.reserve("b", "host")
    assert (none.endpoint.network, none.netns) == ("none", None)
    assert (host.endpoint.network, host.netns) == ("host", None)
    assert none.endpoint.network_id != host.endpoint.network_id


async def test_unknown_networks_are_refused(tmp_path: Path) -> None:
    """With Docker's words; nothing is reserved."""
    networks = build(None, tmp_path)
    with pytest.raises(NotFound, match="network frontend not found"):
        await networks.reserve("a", "frontend")
    with pytest.raises(NotFound, match="network bridge not found"):
        await networks.reserve("a", "bridge")
    with pytest.raises(NotSupported):
        await networks.reserve("a", "container:b")


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"wanted_address": "nonsense"}, "invalid IPv4 address: nonsense"),
        ({"wanted_address": "8.8.8.8"}, "does not belong"),
        ({"mac_address": "02:42"}, "invalid MAC address: 02:42"),
    ],
)
async def test_impossible_addresses_are_the_clients_mistake(
    bridge: BridgeConfig, tmp_path: Path, wanted: dict[str, str], text: str
) -> None:
    """Refused by name; the next container gets the first address."""
    networks = build(bridge, tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(networks.run)
        with pytest.raises(InvalidParameter, match=text):
            await networks.reserve(
                "a",
                "bridge",
                wanted_address=wanted.get("wanted_address", ""),
                mac_address=wanted.get("mac_address", ""),
            )
        sandbox = await networks.reserve("b", "bridge")
        assert bridge.address is not None
        assert sandbox.endpoint.address == str(bridge.address.ip + 1)
        nursery.cancel_scope.cancel()


async def test_a_bridge_that_is_not_up_costs_a_bounded_wait(
    bridge: BridgeConfig, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A dependent part waits for a while, then says so."""
    with pytest.raises(Unavailable, match="bridge network is not up"):
        await build(bridge, tmp_path).reserve("a", "bridge")
