"""Many containers with networks and published ports start and stop: nothing of them is left."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.engine.many import AT_ONCE, inspect, run_many
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine]

MANY = int(os.environ.get("WHARFINGER_MANY", "20"))
"""How many containers; 200 for a thorough look."""


def ports(bridge: str) -> set[str]:
    """The links in a bridge."""
    directory = Path("/sys/class/net") / bridge / "brif"
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def counts(daemon: Daemon, bridge: str) -> dict[str, int]:
    """What containers have on the host, and what the engine says of their addresses."""
    (network,) = (n for n in daemon.http("GET", "/networks").json() if n["Name"] == "many")
    shown = daemon.http("GET", f"/networks/{network['Id']}").json()
    (used,) = (one["IPsInUse"] for one in shown["Status"]["IPAM"]["Subnets"].values())
    return {
        "links": len(ports(bridge)),
        "rules": len(daemon.bridge.published()),
        "namespaces": len(list((daemon.exec_root / "netns").glob("*"))),
        "addresses": used,
        "members": len(shown["Containers"]),
    }


def test_nothing_is_left_of_many(daemon: Daemon) -> None:
    """Each has a link, an address, a namespace and its ports while it runs, and nothing after."""
    subnet = f"{daemon.bridge.pool.rpartition('.')[0]}.0/24"
    body = {"Name": "many", "IPAM": {"Config": [{"Subnet": subnet}]}}
    answer = daemon.http("POST", "/networks/create", body)
    assert answer.status == 201, answer
    bridge = f"br-{answer.json()['Id'][:12]}"
    before = counts(daemon, bridge)
    names = [f"many{number}" for number in range(MANY)]
    published = {"80/tcp": [{"HostIp": "127.0.0.1"}], "53/udp": [{"HostIp": "127.0.0.1"}]}
    run_many(daemon, names, "exec sleep 1000", network="many", PortBindings=published)
    each = {"links": 1, "rules": 2, "namespaces": 1, "addresses": 1, "members": 1}
    assert counts(daemon, bridge) == {key: before[key] + MANY * each[key] for key in each}
    networks = [inspect(daemon, name)["NetworkSettings"]["Networks"]["many"] for name in names]
    assert len({one["IPAddress"] for one in networks}) == MANY

    def remove(name: str) -> None:
        removed = daemon.http("DELETE", f"/containers/{name}?force=1")
        assert removed.status == 204, removed

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(remove, names))
    wait_until(lambda: counts(daemon, bridge) == before, "all is as before", limit_s=30)
