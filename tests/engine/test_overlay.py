"""Real containers in a network that spans nodes, through `docker run`, and over a kill -9.

The network's row is put where an agent would have the engine put it; there is no cluster.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sqlite3
from collections.abc import Iterator

import msgspec
import pytest

from services.networks.model import GATEWAY_BRIDGE, Network
from tests.engine.test_audit import audit
from tests.services.networks.nodes import network_at, overlay_network
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine]

THIRD = secrets.randbelow(250)


def with_rows(daemon: Daemon, change: str, *values: object) -> None:
    """Change the rows of a daemon that does not run."""
    with sqlite3.connect(daemon.data_root / "wharfinger.db") as rows:
        rows.execute(change, values)


@pytest.fixture
def overlay(fresh_daemon: Daemon) -> Iterator[Network]:
    """The daemon has the network `ov`, and a bridge that leads out of it."""
    network = network_at(overlay_network(third=THIRD), "127.0.0.1")
    row = msgspec.json.encode(network)
    fresh_daemon.stop()
    with_rows(fresh_daemon, "INSERT INTO networks VALUES (?, ?)", network.id, row)
    fresh_daemon.start()
    fresh_daemon.own_gateway()
    yield network
    fresh_daemon.remove_containers()
    fresh_daemon.docker("network", "rm", GATEWAY_BRIDGE)


def task(name: str) -> tuple[str, ...]:
    """Makes a container one of the cluster's tasks: managers have given its address."""
    labels = ("com.docker.swarm.task.id=t", f"com.docker.swarm.task.name={name}")
    return ("--name", name, "--label", labels[0], "--label", labels[1])


def run(daemon: Daemon, name: str, last: int, *options: str) -> str:
    address = f"10.99.{THIRD}.{last}"
    daemon.docker(
        "run", "-d", *task(name), "--network", "ov", "--ip", address, *options,
        "busybox", "sleep", "600",
    )  # fmt: skip
    return address


def pings(daemon: Daemon, name: str, target: str) -> bool:
    ran = daemon.docker("exec", name, "ping", "-c1", "-W3", target, code=None)
    return ran.code == 0


def interfaces(daemon: Daemon, name: str) -> list[str]:
    return sorted(daemon.docker("exec", name, "ls", "/sys/class/net").text.split())


def networks_of(daemon: Daemon, name: str) -> dict[str, str]:
    """What clients see: networks with addresses."""
    text = daemon.docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", name).text
    return {network: place["IPAddress"] for network, place in json.loads(text).items()}


def test_containers_in_an_overlay(fresh_daemon: Daemon, overlay: Network) -> None:
    """They reach each other by name and have a way out; after a kill -9 all of that holds."""
    daemon = fresh_daemon
    first = run(daemon, "aa", 5, "-p", "80")
    second = run(daemon, "bb", 6)
    assert networks_of(daemon, "aa") == {"ov": first}
    wait_until(lambda: pings(daemon, "aa", "bb"), "it is reached")
    wait_until(lambda: pings(daemon, "bb", first), "it is reached")
    way = daemon.docker("exec", "aa", "ip", "route", "show", "default").text.split()
    assert way[:2] == ["default", "via"]
    assert way[4] == "eth1"
    wait_until(lambda: pings(daemon, "aa", way[2]), "it is reached")
    assert "ov" not in daemon.docker("exec", "aa", "cat", "/etc/hosts").text
    hosts = daemon.docker("exec", "aa", "cat", "/etc/hosts").text
    assert first in hosts
    assert way[2].rpartition(".")[0] not in hosts
    port = daemon.docker("port", "aa", "80").text
    assert port

    daemon.kill()
    daemon.start()
    assert networks_of(daemon, "aa") == {"ov": first}
    wait_until(lambda: pings(daemon, "aa", "bb"), "it is reached")
    assert daemon.docker("port", "aa", "80").text == port
    taken = daemon.docker(
        "run", "--rm", *task("cc"), "--network", "ov", "--ip", second, "busybox", "true", code=None
    )
    assert taken.code != 0
    assert "Address already in use" in taken.error_text
    by_hand = daemon.docker("run", "--rm", "--network", "ov", "busybox", "true", code=None)
    assert "Could not attach to network ov" in by_hand.error_text
    daemon.docker("restart", "-t", "0", "bb")
    wait_until(lambda: pings(daemon, "bb", "aa"), "it is reached")
    daemon.docker("network", "disconnect", "ov", "bb")
    assert not pings(daemon, "bb", first)
    assert interfaces(daemon, "bb") == ["lo"]
    refused = daemon.docker("network", "rm", "ov", code=None)
    assert refused.code != 0


def test_the_way_out_follows(fresh_daemon: Daemon, overlay: Network) -> None:
    """A network that leads out takes its place, and gives it back; the link comes and goes."""
    daemon = fresh_daemon
    address = run(daemon, "aa", 5)
    daemon.docker("network", "create", "mine")
    daemon.docker("network", "connect", "mine", "aa")
    assert list(networks_of(daemon, "aa")) == ["mine", "ov"]
    assert interfaces(daemon, "aa") == ["eth0", "eth2", "lo"]
    daemon.docker("network", "disconnect", "mine", "aa")
    assert networks_of(daemon, "aa") == {overlay.name: address}
    assert interfaces(daemon, "aa") == ["eth0", "eth1", "lo"]
    way = daemon.docker("exec", "aa", "ip", "route", "show", "default").text.split()
    wait_until(lambda: pings(daemon, "aa", way[2]), "it is reached")
    daemon.docker("network", "rm", "mine")


def test_what_a_kill_cut_off_is_reclaimed(fresh_daemon: Daemon, overlay: Network) -> None:
    """A container that was removed while the daemon was dead leaves its address to the next."""
    daemon = fresh_daemon
    address = run(daemon, "aa", 5, "--rm")
    pid = daemon.docker("inspect", "-f", "{{.State.Pid}}", "aa").text.strip()
    daemon.kill()
    os.kill(int(pid), signal.SIGKILL)
    daemon.start()
    assert run(daemon, "aa2", 5) == address
    assert networks_of(daemon, "aa2") == {"ov": address}
    assert audit(daemon)["Clean"], (audit(daemon), overlay.id)
