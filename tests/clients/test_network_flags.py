"""The daemon's flags for networks: the default bridge, pools and options of new ones."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.clients.cli import start
from tests.support.daemon import Daemon, wait_until
from tests.support.fixtures import DaemonFactory

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def reaches(daemon: Daemon, name: str, address: str) -> bool:
    """Whether a container gets an answer from an address."""
    version = "-6" if ":" in address else "-4"
    command = ("exec", name, "ping", version, "-c1", "-W1", address)
    done = subprocess.run(
        ["docker", *command], env={"DOCKER_HOST": daemon.host, "PATH": "/usr/local/bin:/usr/bin"},
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


def tables() -> str:
    """The names of all firewall tables."""
    command = ["nft", "list", "tables"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_default_bridge_has_what_the_flags_say(make_daemon: DaemonFactory) -> None:
    """IPv6 with a range of its own, containers kept apart; other networks' options."""
    daemon = make_daemon(
        *("--ipv6", "--fixed-cidr-v6", "fd00:99::/120"),
        *("--icc=false", "--mtu", "1450"),
        *("--default-network-opt", "bridge=com.docker.network.driver.mtu=1350"),
    )
    (bridge,) = json.loads(daemon.docker("network", "inspect", "bridge").text)
    assert bridge["EnableIPv6"]
    assert bridge["IPAM"]["Config"][1] == {
        "Subnet": "fd00:99::/120",
        "Gateway": "fd00:99::1",
    }
    assert bridge["Options"]["com.docker.network.bridge.enable_icc"] == "false"
    for name in ("one", "two"):
        start(daemon, "--network", "bridge", name=name)
    settings = json.loads(
        daemon.docker("inspect", "two", "-f", "{{json .NetworkSettings.Networks.bridge}}").text
    )
    assert settings["GlobalIPv6Address"] == "fd00:99::3"
    assert (settings["GlobalIPv6PrefixLen"], settings["IPv6Gateway"]) == (120, "fd00:99::1")
    text = daemon.docker("exec", "one", "ip", "addr", "show", "eth0").text
    assert "fd00:99::2/120" in text
    assert "mtu 1450" in text
    for own, peer in (
        (daemon.bridge.address, settings["IPAddress"]),
        ("fd00:99::1", settings["GlobalIPv6Address"]),
    ):
        wait_until(lambda: reaches(daemon, "one", own), f"it reaches {own}")  # noqa: B023
        assert not reaches(daemon, "one", peer), peer
    daemon.docker("network", "create", "n1")
    (own,) = json.loads(daemon.docker("network", "inspect", "n1").text)
    assert own["Options"] == {"com.docker.network.driver.mtu": "1350"}
    assert own["IPAM"]["Config"][0]["Subnet"].endswith("/28")
    start(daemon, "--network", "n1", name="three")
    assert "mtu 1350" in daemon.docker("exec", "three", "ip", "addr", "show", "eth0").text
    daemon.remove_containers()
    daemon.remove_networks()


def test_without_a_default_bridge_there_are_networks(make_daemon: DaemonFactory) -> None:
    """Their rules are in a table of the engine's own."""
    daemon = make_daemon("--bridge=none")
    assert "bridge" not in daemon.docker("network", "ls", "--format", "{{.Name}}").text.split()
    daemon.docker("network", "create", "n1")
    start(daemon, "--network", "n1")
    (own,) = json.loads(daemon.docker("network", "inspect", "n1").text)
    gateway = own["IPAM"]["Config"][0]["Gateway"]
    wait_until(lambda: reaches(daemon, "box", gateway), "it reaches its gateway")
    table = f"wharfinger-{daemon.docker('info', '-f', '{{.ID}}').text[:8]}"
    assert table in tables()
    daemon.remove_containers()
    daemon.remove_networks()
    wait_until(lambda: table not in tables(), "without networks there is no table")
