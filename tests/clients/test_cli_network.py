"""`docker network create`, `ls`, `inspect`, `rm` and `prune` with the real CLI."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from services.networks.drivers.ipvlan import why_no_ipvlan
from tests.clients.cli import refusal, start
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients]


def inspected(daemon: Daemon, name: str) -> dict[str, Any]:
    """One network."""
    (shown,) = json.loads(daemon.docker("network", "inspect", name).text)
    assert isinstance(shown, dict)
    return shown


def names(daemon: Daemon, *flags: str) -> list[str]:
    """What `docker network ls` lists."""
    return daemon.docker("network", "ls", "--format", "{{.Name}}", *flags).text.split()


def bridge_of(network: dict[str, Any]) -> dict[str, Any]:
    """The host's link of a network."""
    command = ["ip", "-j", "address", "show", f"br-{network['Id'][:12]}"]
    done = subprocess.run(command, capture_output=True, check=False)
    return dict(json.loads(done.stdout)[0]) if done.returncode == 0 else {}


def test_create_ls_inspect_rm(daemon: Daemon) -> None:
    """All that there is to a network."""
    network_id = daemon.docker("network", "create", "--label", "a=b", "n1").text
    assert len(network_id) == 64
    shown = inspected(daemon, "n1")
    assert (shown["Id"], shown["Driver"], shown["Scope"]) == (network_id, "bridge", "local")
    assert (shown["Labels"], shown["Internal"], shown["Containers"]) == ({"a": "b"}, False, {})
    (subnet,) = shown["IPAM"]["Config"]
    assert bridge_of(shown)["addr_info"][0]["local"] == subnet["Gateway"]
    assert sorted(names(daemon)) == ["bridge", "host", "n1", "none"]
    for flag, expected in (
        ("name=n1", ["n1"]),
        ("label=a", ["n1"]),
        ("driver=null", ["none"]),
        ("type=custom", ["n1"]),
        ("dangling=1", ["n1"]),
        (f"id={network_id[:8]}", ["n1"]),
    ):
        assert names(daemon, "-f", flag) == expected, flag
    assert daemon.docker("network", "rm", "n1").text == "n1"
    assert bridge_of(shown) == {}
    assert "network n1 not found" in refusal(daemon, "network", "rm", "n1")
    daemon.docker("network", "rm", "-f", "n1")
    missing = daemon.docker("network", "inspect", "n1", code=1).error_text
    assert "network n1 not found" in missing


def test_create_with_everything(daemon: Daemon) -> None:
    """Subnets of both families, a range, a gateway, auxiliary addresses, options."""
    prefix = daemon.bridge.pool.rpartition(".")[0]
    bridge = f"{daemon.bridge.name}own"  # of ours alone: other daemons run these tests, too
    daemon.docker(
        *("network", "create", "--internal", "--ipv6", "--attachable"),
        *("--subnet", f"{prefix}.0/25", "--ip-range", f"{prefix}.64/26"),
        *("--gateway", f"{prefix}.9", "--aux-address", f"router={prefix}.65"),
        *("--subnet", "fd00:7::/64", "--gateway", "fd00:7::9"),
        *("-o", "com.docker.network.driver.mtu=1400"),
        *("-o", f"com.docker.network.bridge.name={bridge}", "n1"),
    )
    shown = inspected(daemon, "n1")
    assert shown["IPAM"]["Config"] == [
        {
            "Subnet": f"{prefix}.0/25",
            "IPRange": f"{prefix}.64/26",
            "Gateway": f"{prefix}.9",
            "AuxiliaryAddresses": {"router": f"{prefix}.65"},
        },
        {"Subnet": "fd00:7::/64", "Gateway": "fd00:7::9"},
    ]
    assert (shown["Internal"], shown["Attachable"], shown["EnableIPv6"]) == (True, True, True)
    assert shown["Options"]["com.docker.network.driver.mtu"] == "1400"
    start(daemon, "--network", "n1")
    text = daemon.docker("exec", "box", "ip", "addr", "show", "eth0").text
    assert f"{prefix}.64/25" in text
    assert "fd00:7::1/64" in text
    assert "mtu 1400" in text
    assert daemon.docker("exec", "box", "ip", "route").text.splitlines() == [
        f"{prefix}.0/25 dev eth0 scope link  src {prefix}.64"
    ]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("bridge",), "operation is not permitted on predefined bridge network"),
        (("-d", "nope", "n"), 'plugin "nope" not found'),
        (("-d", "host", "n"), 'only one instance of "host" network is allowed'),
        (("-d", "overlay", "n"), "This node is not a swarm manager."),
        (("-d", "macvlan", "-o", "parent=wfx.7", "n"), "parent interface does not exist"),
        (("--subnet", "10.1.0.1/24", "n"), "invalid subnet 10.1.0.1/24: it should be 10.1.0.0/24"),
        (("-o", "com.docker.network.bridge.enable_icc=x", "n"), "failed to parse com.docker"),
        (("--scope", "swarm", "n"), "cannot create a swarm scoped network"),
    ],
)
def test_what_cannot_be_is_refused(daemon: Daemon, words: tuple[str, ...], error: str) -> None:
    """In dockerd's words; nothing is made."""
    assert error in refusal(daemon, "network", "create", *words)
    assert names(daemon, "-f", "type=custom") == []


def test_names_and_subnets_are_ones_own(daemon: Daemon) -> None:
    """409 for a name; a subnet is nobody else's."""
    daemon.docker("network", "create", "n1")
    assert "network with name n1 already exists" in refusal(daemon, "network", "create", "n1")
    subnet = inspected(daemon, "n1")["IPAM"]["Config"][0]["Subnet"]
    overlap = refusal(daemon, "network", "create", "--subnet", subnet, "n2")
    assert overlap.startswith("invalid pool request: Pool overlaps with other one on this address")
    assert daemon.http("POST", "/networks/create", {"Name": "n1"}).status == 409
    taken = {"Name": "n2", "IPAM": {"Config": [{"Subnet": subnet}]}}
    assert daemon.http("POST", "/networks/create", taken).status == 403


def test_pools_run_out(daemon: Daemon) -> None:
    """In dockerd's words; what is removed can be had again."""
    for number in range(16):
        answer = daemon.http("POST", "/networks/create", {"Name": f"n{number}"})
        assert answer.status == 201, answer
    exhausted = refusal(daemon, "network", "create", "more")
    assert exhausted == "all predefined address pools have been fully subnetted\nexit status 1" or (
        exhausted == "all predefined address pools have been fully subnetted"
    )
    daemon.docker("network", "rm", "n3")
    daemon.docker("network", "create", "more")


def test_ipvlan_is_there_where_the_kernel_has_it(daemon: Daemon) -> None:
    """And a 501 that says what is missing where it has not."""
    why_not = why_no_ipvlan(0)
    made = daemon.http("POST", "/networks/create", {"Name": "n1", "Driver": "ipvlan"})
    if why_not:
        assert (made.status, made.message) == (501, why_not)
        return
    assert made.status == 201
    start(daemon, "--network", "n1")


def test_a_network_in_use_stays(daemon: Daemon) -> None:
    """While a container runs in it; one that does not run is no user."""
    daemon.docker("network", "create", "n1")
    start(daemon, "--network", "n1")
    shown = inspected(daemon, "n1")
    ((container, member),) = shown["Containers"].items()
    refused = refusal(daemon, "network", "rm", "n1")
    endpoint = member["EndpointID"][:12]
    assert f'network n1 has active endpoints (name:"box" id:"{endpoint}")' in refused
    assert daemon.http("DELETE", "/networks/n1").status == 403
    assert "pre-defined network and cannot be removed" in refusal(daemon, "network", "rm", "host")
    inside = daemon.docker("inspect", "box", "-f", "{{json .NetworkSettings.Networks.n1}}").text
    settings = json.loads(inside)
    assert (settings["NetworkID"], settings["EndpointID"]) == (shown["Id"], member["EndpointID"])
    assert member["IPv4Address"] == f"{settings['IPAddress']}/{settings['IPPrefixLen']}"
    assert settings["DNSNames"] == ["box", container[:12]]
    assert names(daemon, "-f", "dangling=1") == []
    daemon.docker("stop", "-t0", "box")
    of_network = ("ps", "-aq", "--no-trunc", "--filter", f"network={shown['Id'][:20]}")
    assert daemon.docker(*of_network).text == container
    daemon.docker("network", "rm", "n1")
    assert "network n1 not found" in refusal(daemon, "start", "box")
    # As with dockerd, the record goes on to name the network that it was in.
    after = daemon.http("GET", "/containers/box/json").json()["NetworkSettings"]["Networks"]["n1"]
    assert (after["NetworkID"], after["EndpointID"], after["IPAddress"]) == (shown["Id"], "", "")
    assert daemon.docker(*of_network).text == container
    daemon.docker("network", "create", "n1")
    daemon.docker("network", "disconnect", "n1", "box")
    daemon.docker("network", "connect", "n1", "box")
    assert daemon.docker(*of_network).text == ""


def test_prune(daemon: Daemon) -> None:
    """What nobody is in."""
    for name in ("n1", "n2", "n3"):
        daemon.docker("network", "create", "--label", f"own={name}", name)
    start(daemon, "--network", "n1")
    out = daemon.docker("network", "prune", "-f", "--filter", "label!=own=n2").text
    assert out.splitlines() == ["Deleted Networks:", "n3"]
    assert sorted(names(daemon, "-f", "type=custom")) == ["n1", "n2"]


def test_events(daemon: Daemon) -> None:
    """Of networks, with the containers that come and go."""
    since = daemon.docker("info", "-f", "{{.SystemTime}}").text
    daemon.docker("network", "create", "n1")
    box = start(daemon, "--network", "n1")
    daemon.docker("network", "connect", "bridge", "box")
    daemon.docker("network", "disconnect", "n1", "box")
    daemon.docker("rm", "-f", "box")
    daemon.docker("network", "rm", "n1")
    until = daemon.docker("info", "-f", "{{.SystemTime}}").text
    lines = daemon.docker(
        *("events", "--since", since, "--until", until, "--filter", "type=network"),
        *("--format", "{{.Action}} {{json .Actor.Attributes}}"),
    ).text.splitlines()
    events = [(line.partition(" ")[0], json.loads(line.partition(" ")[2])) for line in lines]
    own, bridge = {"name": "n1", "type": "bridge"}, {"name": "bridge", "type": "bridge"}
    assert events == [
        ("create", own),
        ("connect", {**own, "container": box}),
        ("connect", {**bridge, "container": box}),
        ("disconnect", {**own, "container": box}),
        ("disconnect", {**bridge, "container": box}),
        ("destroy", own),
    ]
