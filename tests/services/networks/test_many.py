"""Many containers with networks start and stop: nothing of them is left on the host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from services.networks import EndpointRequest, SubnetRequest
from tests.services.networks.scene import host_links, own_addresses, running

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make links"),
]

MANY = int(os.environ.get("WHARFINGER_MANY", "24"))
"""How many containers; 200 for a thorough look."""


@pytest.fixture
def prefix(tmp_path: Path) -> Iterator[str]:
    """Addresses of the test's own; bridges and namespaces that it leaves go with it."""
    with own_addresses(tmp_path) as prefix:
        yield prefix


def addresses(prefix: str) -> int:
    """How many addresses of ours the host has."""
    done = subprocess.run(["ip", "-o", "-4", "address"], capture_output=True, text=True, check=True)
    return sum(f" {prefix}." in line for line in done.stdout.splitlines())


def held(folder: Path) -> int:
    """How many namespaces are held."""
    return sum(str(folder) in line for line in Path("/proc/self/mounts").read_text().splitlines())


async def test_nothing_is_left_of_many(tmp_path: Path, prefix: str) -> None:
    """Links, namespaces, addresses and places in networks are what they were before."""
    async with running(tmp_path, prefix) as scene:
        subnets = tuple(SubnetRequest(subnet=f"{prefix}.{n}.0/20") for n in (16,))
        first = await scene.create("first", subnets=subnets, ipv6=True)
        second = await scene.create(
            "second", subnets=(SubnetRequest(subnet=f"{prefix}.32.0/20"),), internal=True
        )
        before = (addresses(prefix), held(tmp_path))
        names = [f"c{number}" for number in range(MANY)]

        async def start(name: str) -> None:
            await scene.start(name, "first", "second")

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(start, name)
        own = [e for name in names for e in scene.sandboxes.endpoints(name)]
        assert len({endpoint.address for endpoint in own}) == 2 * MANY
        links = {endpoint.host_link for endpoint in own}
        assert len(links & host_links()) == 2 * MANY
        assert held(tmp_path) == MANY
        last = scene.sandboxes.endpoints(names[-1])[0].address
        assert scene.pings(names[0], last)
        for name in names[: MANY // 4]:
            (endpoint,) = (e for e in scene.sandboxes.endpoints(name) if e.network == "second")
            await scene.sandboxes.unplug(name, endpoint, pid=0)
            again = await scene.sandboxes.reserve_one(name, EndpointRequest(network="second"))
            await scene.sandboxes.plug_in(name, again, pid=0)
            links.add(again.host_link)
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(scene.sandboxes.release, name)
        with trio.fail_after(30):
            while links & host_links():
                await trio.sleep(0.02)  # the kernel reaps them in its own time
        assert (addresses(prefix), held(tmp_path)) == before
        for network in (first, second):
            assert scene.networks.addresses(network).handed_out == []
            assert not scene.networks.members.is_used(network.id)
            await scene.networks.remove(network.name)
