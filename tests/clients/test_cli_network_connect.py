"""`docker network connect` and `disconnect`, and `docker run` in several networks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.cli import create, refusal, start
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.clients]

SYSCTLS = "com.docker.network.endpoint.sysctls"


@pytest.fixture(autouse=True)
def networks(daemon: Daemon) -> dict[str, str]:
    """Two networks, with their subnets."""
    prefix = daemon.bridge.pool.rpartition(".")[0]
    subnets = {"front": f"{prefix}.64/26", "back": f"{prefix}.128/26"}
    for name, subnet in subnets.items():
        body = {"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}}
        assert daemon.http("POST", "/networks/create", body).status == 201
    return subnets


def links(daemon: Daemon, name: str = "box") -> list[str]:
    """A container's links, as it sees them itself."""
    text = daemon.docker("exec", name, "ip", "-o", "link").text
    found = (line.split()[1].partition("@")[0].rstrip(":") for line in text.splitlines())
    return sorted(link for link in found if link != "lo")


def address(networks: dict[str, str], name: str, offset: int) -> str:
    """An address of a network."""
    prefix, _, last = networks[name].partition("/")[0].rpartition(".")
    return f"{prefix}.{int(last) + offset}"


def route(daemon: Daemon, name: str = "box") -> str:
    """A container's default route."""
    lines = daemon.docker("exec", name, "ip", "route").text.splitlines()
    return next((line.strip() for line in lines if line.startswith("default")), "")


def settings(daemon: Daemon, name: str = "box") -> dict[str, dict[str, Any]]:
    """`NetworkSettings.Networks`."""
    text = daemon.docker("inspect", name, "-f", "{{json .NetworkSettings.Networks}}").text
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


def test_connect_and_disconnect_while_it_runs(daemon: Daemon, networks: dict[str, str]) -> None:
    """Seen inside at once, with what was asked for; the way out follows."""
    start(daemon, "--network", "front")
    assert (links(daemon), route(daemon).split()[2]) == (["eth0"], address(networks, "front", 1))
    wanted = address(networks, "back", 9)
    daemon.docker(
        *("network", "connect", "--ip", wanted, "--alias", "db", "--gw-priority", "1"),
        *(
            "--driver-opt",
            "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1",
        ),
        *("back", "box"),
    )
    assert links(daemon) == ["eth0", "eth1"]
    assert route(daemon) == f"default via {address(networks, 'back', 1)} dev eth1"
    martians = daemon.docker("exec", "box", "cat", "/proc/sys/net/ipv4/conf/eth1/log_martians")
    assert martians.text == "1"
    back = settings(daemon)["back"]
    assert (back["IPAddress"], back["Aliases"], back["GwPriority"]) == (wanted, ["db"], 1)
    assert back["DNSNames"][:2] == ["box", "db"]
    again = refusal(daemon, "network", "connect", "back", "box")
    assert "endpoint with name box already exists in network back" in again
    daemon.docker("network", "disconnect", "back", "box")
    assert links(daemon) == ["eth0"]
    assert route(daemon) == f"default via {address(networks, 'front', 1)} dev eth0"
    assert list(settings(daemon)) == ["front"]
    gone = refusal(daemon, "network", "disconnect", "back", "box")
    assert "is not connected to network back" in gone


def test_connect_and_disconnect_before_it_runs(daemon: Daemon, networks: dict[str, str]) -> None:
    """What was asked for holds at the start, and at the next one."""
    create(daemon, "--network", "front", command=("sleep", "1000"))
    daemon.docker("network", "connect", "--ip", address(networks, "back", 7), "back", "box")
    assert settings(daemon)["back"]["IPAddress"] == ""
    for _ in range(2):
        daemon.docker("start", "box")
        assert links(daemon) == ["eth0", "eth1"]
        assert settings(daemon)["back"]["IPAddress"] == address(networks, "back", 7)
        daemon.docker("stop", "-t0", "box")
    daemon.docker("network", "disconnect", "front", "box")
    daemon.docker("start", "box")
    assert (links(daemon), list(settings(daemon))) == (["eth0"], ["back"])


def test_what_is_changed_while_it_runs_holds_at_the_next_start(daemon: Daemon) -> None:
    """A restart does not undo it."""
    start(daemon, "--network", "front")
    daemon.docker("network", "connect", "back", "box")
    daemon.docker("network", "disconnect", "front", "box")
    daemon.docker("restart", "-t0", "box")
    assert (links(daemon), list(settings(daemon))) == (["eth0"], ["back"])


def test_run_in_several_networks(daemon: Daemon, networks: dict[str, str]) -> None:
    """Each with settings of its own; the first name leads out, unless priority says otherwise."""
    start(
        daemon,
        *("--network", f"name=front,ip={address(networks, 'front', 5)},alias=x"),
        *("--network", "name=back,mac-address=02:00:00:00:00:09,gw-priority=-1"),
    )
    assert links(daemon) == ["eth0", "eth1"]
    found = settings(daemon)
    assert found["front"]["IPAddress"] == address(networks, "front", 5)
    assert found["back"]["MacAddress"] == "02:00:00:00:00:09"
    assert route(daemon) == f"default via {address(networks, 'front', 1)} dev eth0"
    start(daemon, "--network", "front", name="other")
    ping = ("ping", "-c1", "-W20", address(networks, "front", 5))
    daemon.docker("exec", "other", *ping)


def test_a_host_port_follows_the_way_out(daemon: Daemon) -> None:
    """Published where the container leads out; with no way out it leads nowhere."""
    command = ("sh", "-c", "mkdir w; echo hello > w/index.html; httpd -f -p 80 -h w")
    start(daemon, "--network", "front", "-p", "127.0.0.1::80", command=command)
    inside = ("exec", "box", "wget", "-qO-", "http://127.0.0.1/")
    wait_until(lambda: daemon.docker(*inside, code=None).text == "hello", "it serves")
    before = daemon.docker("port", "box", "80").text
    daemon.docker("network", "connect", "--gw-priority", "1", "back", "box")
    daemon.docker("network", "disconnect", "front", "box")
    assert daemon.docker("port", "box", "80").text == before
    port = before.rpartition(":")[2]
    page = daemon.docker(
        "run", "--rm", "--network", "host", "busybox", "wget", "-qO-", f"http://127.0.0.1:{port}/"
    )
    assert page.text == "hello"
    daemon.docker("network", "disconnect", "back", "box")
    assert daemon.docker("port", "box").text == ""
    daemon.docker("network", "connect", "front", "box")
    assert daemon.docker("port", "box", "80").text.startswith("127.0.0.1:")


def test_none_and_back(daemon: Daemon) -> None:
    """A container without networks can be given some, once it has left `none`."""
    start(daemon, "--network", "none")
    assert "private (none) mode" in refusal(daemon, "network", "connect", "front", "box")
    daemon.docker("network", "disconnect", "none", "box")
    daemon.docker("network", "connect", "front", "box")
    assert links(daemon) == ["eth0"]
    daemon.docker("network", "disconnect", "front", "box")
    assert links(daemon) == []
    daemon.docker("restart", "-t0", "box")
    assert links(daemon) == []


def test_what_does_not_go_together(daemon: Daemon) -> None:
    """In dockerd's words."""
    start(daemon, "--network", "host", name="hosted")
    assert "cannot disconnect container from host network" in refusal(
        daemon, "network", "disconnect", "host", "hosted"
    )
    assert "sharing network namespace" in refusal(daemon, "network", "connect", "front", "hosted")
    start(daemon, "--network", "front")
    assert "container must be created in host network mode" in refusal(
        daemon, "network", "connect", "host", "box"
    )
    start(daemon, "--network", "container:box", name="joined")
    assert "sharing network namespace" in refusal(daemon, "network", "connect", "back", "joined")
    daemon.docker("network", "connect", "back", "box")
    assert links(daemon, "joined") == ["eth0", "eth1"]
    assert "No such container: nope" in refusal(daemon, "network", "connect", "front", "nope")
    assert "network nope not found" in refusal(daemon, "network", "connect", "nope", "box")
    assert "endpoint nope not found" in refusal(
        daemon, "network", "disconnect", "-f", "front", "nope"
    )


def test_addresses_are_ones_own(daemon: Daemon, networks: dict[str, str]) -> None:
    """A second container cannot have one; the start says so, and holds nothing."""
    taken = address(networks, "front", 5)
    start(daemon, "--network", "front", "--ip", taken)
    create(daemon, "--network", "front", "--ip", taken, name="second", command=("sleep", "9"))
    refused = refusal(daemon, "start", "second")
    assert "failed to set up container networking: Address already in use" in refused
    daemon.docker("rm", "-f", "box")
    daemon.docker("start", "second")
    words = ("run", "--network", "bridge", "--ip", "10.1.2.3", "busybox")
    assert "user specified IP address is supported on user defined networks only" in refusal(
        daemon, *words, code=125
    )
    outside = refusal(daemon, "run", "--network", "front", "--ip", "10.1.2.3", "busybox", code=125)
    assert "no configured subnet or ip-range contain the IP address 10.1.2.3" in outside


def test_an_older_client_sets_an_interfaces_sysctl(daemon: Daemon) -> None:
    """As dockerd it becomes an option of the network; a newer one has to say so itself."""
    name = "net.ipv4.conf.eth0.log_martians"
    body = {"Image": "busybox", "Cmd": ["sleep", "60"], "HostConfig": {"Sysctls": {name: "1"}}}
    option = f"{name.replace('eth0', 'IFNAME')}=1"
    refused = daemon.http("POST", "/v1.48/containers/create?name=box", body)
    assert refused.status == 400
    assert "must be supplied using driver option" in refused.message
    made = daemon.http("POST", "/v1.47/containers/create?name=box", body)
    assert made.status == 201
    (warning,) = made.json()["Warnings"]
    assert warning == f'Migrated sysctls of eth0 to DriverOpts{{"{SYSCTLS}":"{option}"}}.'
    assert daemon.http("POST", "/containers/box/start").status == 204
    path = "/proc/sys/" + name.replace(".", "/")
    assert daemon.docker("exec", "box", "cat", path).text == "1"
    shown = daemon.http("GET", "/containers/box/json").json()
    assert shown["HostConfig"].get("Sysctls") in (None, {})
    options = shown["NetworkSettings"]["Networks"]["bridge"]["DriverOpts"]
    assert options == {SYSCTLS: option}
