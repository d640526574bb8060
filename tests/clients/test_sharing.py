"""What containers share: namespaces and their files, /dev/shm, and legacy links."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from services.containers.runs.shm import SharedMemory
from tests.support.daemon import Daemon, wait_until
from tests.support.fixtures import DaemonFactory

pytestmark = [pytest.mark.engine, pytest.mark.clients]

SLEEP = ("busybox", "sleep", "1000")


def inspect(daemon: Daemon, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = daemon.http("GET", f"/containers/{name}/json").json()
    return answer


def run(daemon: Daemon, name: str, *options: str) -> str:
    """Run a container that sleeps; its id."""
    return daemon.docker("run", "-d", "--name", name, *options, *SLEEP).text


def inside(daemon: Daemon, name: str, command: str, code: int | None = 0) -> str:
    return daemon.docker("exec", name, "sh", "-c", command, code=code).text


def refusal(daemon: Daemon, *arguments: str) -> str:
    ran = daemon.docker(*arguments, code=None)
    assert ran.code != 0
    return ran.error_text


def address_of(daemon: Daemon, name: str) -> str:
    address: str = inspect(daemon, name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    return address


def test_a_network_is_joined_with_its_names(daemon: Daemon) -> None:
    """Its links, its hosts file and its host name; the id is kept, not the name."""
    donor = run(daemon, "sh-donor", "--hostname", "donor", "--add-host", "far:1.2.3.4")
    run(daemon, "sh-joiner", "--network", "container:sh-donor")
    assert inside(daemon, "sh-joiner", "ip -4 addr show eth0") == inside(
        daemon, "sh-donor", "ip -4 addr show eth0"
    )
    assert inside(daemon, "sh-joiner", "hostname; cat /etc/hostname") == "donor\ndonor"
    inside(daemon, "sh-joiner", "echo 1.1.1.1 here >> /etc/hosts")
    assert "far" in inside(daemon, "sh-donor", "grep -e far -e here /etc/hosts")
    assert "here" in inside(daemon, "sh-donor", "cat /etc/hosts")
    found = inspect(daemon, "sh-joiner")
    assert found["HostConfig"]["NetworkMode"] == f"container:{donor}"
    assert found["NetworkSettings"]["Networks"] == {}
    assert found["Config"]["Hostname"] == "donor"
    for path in ("HostsPath", "HostnamePath", "ResolvConfPath"):
        assert found[path] == inspect(daemon, "sh-donor")[path]
    daemon.docker("rename", "sh-donor", "sh-renamed")
    daemon.docker("restart", "-t0", "sh-joiner")
    assert inside(daemon, "sh-joiner", "hostname") == "donor"


def test_a_network_ends_with_its_container(daemon: Daemon) -> None:
    """Whoever is still in it loses the link: its address may be another one's by now."""
    run(daemon, "sh-donor")
    run(daemon, "sh-joiner", "--network", "container:sh-donor")
    daemon.docker("restart", "-t0", "sh-donor")
    assert "can't find" in daemon.docker(
        "exec", "sh-joiner", "ip", "addr", "show", "eth0", code=1
    ).error_text  # fmt: skip
    inside(daemon, "sh-donor", "ip addr show eth0")
    daemon.docker("restart", "-t0", "sh-joiner")
    inside(daemon, "sh-joiner", "ip addr show eth0")
    daemon.docker("stop", "-t0", "sh-donor")
    text = "cannot join network namespace of a non running container: container sh-donor is exited"
    assert text in refusal(daemon, "restart", "-t0", "sh-joiner")
    assert inspect(daemon, "sh-joiner")["State"]["Error"] == text
    daemon.docker("rm", "sh-donor")
    assert "No such container" in refusal(daemon, "start", "sh-joiner")


def test_what_conflicts_with_anothers_network(daemon: Daemon) -> None:
    """Refused at the create, in dockerd's words."""
    run(daemon, "sh-donor")
    conflicting = "conflicting options: "
    for options, text in (
        (("-p", "80:80"), "port publishing and the container type network mode"),
        (("--expose", "80"), "port exposing and the container type network mode"),
        (("--hostname", "x"), "hostname and the network mode"),
        (("--dns", "1.1.1.1"), "dns and the network mode"),
        (("--add-host", "a:1.1.1.1"), "custom host-to-IP mapping and the network mode"),
    ):
        wanted = ("create", "--network", "container:sh-donor", *options, *SLEEP)
        assert conflicting + text in refusal(daemon, *wanted)
    both = {"UTSMode": "host"}
    body = {"Image": "busybox", "Hostname": "x", "HostConfig": both}
    answer = daemon.http("POST", "/containers/create", body)
    assert (answer.status, answer.json()["message"]) == (
        400, conflicting + "hostname and the UTS mode",
    )  # fmt: skip
    for mode in ("container:", "container"):
        body = {"Image": "busybox", "HostConfig": {"NetworkMode": mode}}
        answer = daemon.http("POST", "/containers/create", body)
        assert answer.status == 400
        assert "invalid container format container:<name|id>" in answer.json()["message"]


def test_shared_memory_and_processes(daemon: Daemon) -> None:
    """Of one that shares them. Its /dev/shm has the size that was asked for."""
    run(daemon, "sh-donor", "--ipc", "shareable", "--shm-size", "1m")
    inside(daemon, "sh-donor", "echo shared > /dev/shm/file")
    run(daemon, "sh-joiner", "--ipc", "container:sh-donor", "--pid", "container:sh-donor")
    assert inside(daemon, "sh-joiner", "cat /dev/shm/file") == "shared"
    assert "1.0M" in inside(daemon, "sh-joiner", "df -h /dev/shm")
    for kind in ("ipc", "pid"):
        link = f"readlink /proc/self/ns/{kind}"
        assert inside(daemon, "sh-joiner", link) == inside(daemon, "sh-donor", link)
    wait_until(
        lambda: inside(daemon, "sh-joiner", "ps -o args").splitlines().count("sleep 1000") == 2,
        "both first processes are seen",
    )
    run(daemon, "sh-third", "--ipc", "container:sh-joiner")
    assert inside(daemon, "sh-third", "cat /dev/shm/file") == "shared"
    daemon.docker("kill", "sh-donor")
    wait_until(
        lambda: inspect(daemon, "sh-joiner")["State"]["Status"] == "exited",
        "a PID namespace ends with its first process",
    )
    assert inspect(daemon, "sh-joiner")["State"]["ExitCode"] == 137
    assert inside(daemon, "sh-third", "cat /dev/shm/file") == "shared"
    daemon.docker("start", "sh-donor")
    assert inside(daemon, "sh-donor", "ls /dev/shm") == ""


def test_what_is_not_shared(daemon: Daemon) -> None:
    """A private IPC namespace is the default, and cannot be joined; none has no /dev/shm."""
    donor = run(daemon, "sh-donor")
    text = (
        f"failed to join IPC namespace: container {donor}: non-shareable IPC "
        "(hint: use IpcMode:shareable for the donor container)"
    )
    assert text in refusal(daemon, "run", "--rm", "--ipc", "container:sh-donor", *SLEEP)
    none = daemon.docker("run", "--rm", "--ipc", "none", "busybox", "ls", "/dev/shm", code=1)
    assert "No such file" in none.error_text
    mine = daemon.docker(
        "run", "--rm", "--ipc", "shareable", "--tmpfs", "/dev/shm:size=2m", "busybox",
        "df", "-h", "/dev/shm",
    )  # fmt: skip
    assert "2.0M" in mine.text


def test_the_hosts_shared_memory(daemon: Daemon) -> None:
    """--ipc host is the host's namespace with the host's /dev/shm."""
    device = os.stat("/dev/shm").st_dev
    ran = daemon.docker(
        "run", "--rm", "--ipc", "host", "busybox", "sh", "-c",
        "stat -c %d /dev/shm; readlink /proc/self/ns/ipc",
    )  # fmt: skip
    assert ran.text.splitlines() == [str(device), os.readlink("/proc/self/ns/ipc")]


def test_links(daemon: Daemon) -> None:
    """Names, variables, lists, renames, a restart, and the end of a link."""
    run(daemon, "sh-db", "-e", "A=1", "--expose", "80")
    web = ("--link", "sh-db:mysql", "--link", "sh-db")
    run(daemon, "sh-web", *web)
    hostname = inspect(daemon, "sh-db")["Config"]["Hostname"]
    before = address_of(daemon, "sh-db")
    hosts = inside(daemon, "sh-web", "cat /etc/hosts")
    assert f"{before}\tmysql {hostname} sh-db\n{before}\tsh-db {hostname}\n" in hosts
    inside(daemon, "sh-web", "ping -c1 -W5 mysql")
    env = inside(daemon, "sh-web", "tr '\\0' '\\n' < /proc/1/environ").splitlines()
    assert f"MYSQL_PORT=tcp://{before}:80" in env
    assert {"MYSQL_NAME=/sh-web/mysql", "MYSQL_ENV_A=1", "SH_DB_NAME=/sh-web/sh-db"} < set(env)
    assert inspect(daemon, "sh-web")["HostConfig"]["Links"] == [
        "/sh-db:/sh-web/mysql", "/sh-db:/sh-web/sh-db",
    ]  # fmt: skip
    names = {c["Id"]: c["Names"] for c in daemon.http("GET", "/containers/json").json()}
    database = inspect(daemon, "sh-db")["Id"]
    assert names[database] == ["/sh-db", "/sh-web/mysql", "/sh-web/sh-db"]
    assert inspect(daemon, "sh-web/mysql")["Id"] == database

    daemon.docker("stop", "-t0", "sh-db")
    assert "Cannot link to a non running container: /sh-db AS /" in refusal(
        daemon, "run", "--rm", *web, *SLEEP
    )
    daemon.docker("start", "sh-db")
    assert address_of(daemon, "sh-db") == before
    assert f"{before}\tmysql {hostname} sh-db\n" in inside(daemon, "sh-web", "cat /etc/hosts")

    daemon.docker("rename", "sh-db", "sh-data")
    assert inspect(daemon, "sh-web")["HostConfig"]["Links"][0] == "/sh-data:/sh-web/mysql"
    daemon.docker("rm", "--link", "/sh-web/mysql")
    assert inspect(daemon, "sh-web")["HostConfig"]["Links"] == ["/sh-data:/sh-web/sh-db"]
    assert "mysql" not in inside(daemon, "sh-web", "cat /etc/hosts")
    assert inspect(daemon, "sh-data")["State"]["Running"]
    assert "cannot remove the default link name" in refusal(daemon, "rm", "--link", "sh-web")
    daemon.docker("rm", "-f", "sh-data")
    assert inspect(daemon, "sh-web")["HostConfig"]["Links"] is None
    daemon.docker("restart", "-t0", "sh-web")


def test_a_link_follows_its_container_to_another_address(fresh_daemon: Daemon) -> None:
    """Which it gets when others have taken its own meanwhile: there are six in all."""
    daemon = fresh_daemon
    daemon.restart("--fixed-cidr", f"{daemon.bridge.address.rpartition('.')[0]}.0/29")
    run(daemon, "db", "--expose", "80")
    before = address_of(daemon, "db")
    run(daemon, "web", "--link", "db:mysql")
    daemon.docker("stop", "-t0", "db")
    others = [f"other{number}" for number in range(5)]
    for name in others:
        run(daemon, name)
    assert before in [address_of(daemon, name) for name in others]
    daemon.docker("rm", "-f", next(n for n in others if address_of(daemon, n) != before))
    daemon.docker("start", "db")
    after = address_of(daemon, "db")
    assert after != before
    hosts = inside(daemon, "web", "cat /etc/hosts")
    assert f"{after}\tmysql {inspect(daemon, 'db')['Config']['Hostname']} db\n" in hosts
    assert before not in hosts
    assert f"MYSQL_PORT_80_TCP_ADDR={after}" in inside(daemon, "web", "env")


def test_links_that_cannot_be(daemon: Daemon) -> None:
    """Refused at the create; with 400, so that the CLI does not look for an image."""
    for links, text in (
        (["nope"], "could not get container for nope: No such container: nope"),
        (["a:b:c"], "bad format for links: a:b:c"),
    ):
        body = {"Image": "busybox", "HostConfig": {"Links": links}}
        answer = daemon.http("POST", "/containers/create", body)
        assert (answer.status, answer.json()["message"]) == (400, text)
    body = {"Image": "busybox", "HostConfig": {"Links": ["x"], "NetworkMode": "host"}}
    answer = daemon.http("POST", "/containers/create", body)
    assert answer.status == 400
    assert "host type networking can't be used with links" in answer.json()["message"]


def test_who_needs_others_starts_after_them(make_daemon: DaemonFactory) -> None:
    """At the start of the daemon, whichever was made first; and what is shared outlives a kill."""
    daemon = make_daemon("--default-ipc-mode", "shareable")
    always = ("--restart", "always", "--stop-timeout", "1")
    # The one that is needed comes last in every order that the daemon could take by chance.
    donor = run(daemon, "zz-donor", *always)
    mode = "container:zz-donor"
    joiners = [f"joiner-{n}" for n in range(4)]
    for name in joiners:
        run(daemon, name, *always, "--network", mode, "--ipc", mode, "--pid", mode)
    linked = run(daemon, "linked", *always, "--link", "zz-donor:up")
    inside(daemon, "zz-donor", "echo kept > /dev/shm/file")
    daemon.kill()
    memory = SharedMemory(daemon.exec_root / "shm")
    memory.make("f" * 64, 1 << 16)  # as of a start that was cut short
    daemon.start()
    wait_until(lambda: memory.held() == sorted([donor, linked]), "what is nobody's is dropped")
    assert inside(daemon, "joiner-0", "cat /dev/shm/file") == "kept"
    assert inspect(daemon, "joiner-0")["HostConfig"]["NetworkMode"] == f"container:{donor}"
    daemon.restart()
    names = ("zz-donor", *joiners, "linked")
    wait_until(
        lambda: all(inspect(daemon, name)["State"]["Running"] for name in names),
        "all have started again",
        limit_s=60,
    )
    assert inside(daemon, "joiner-0", "ls /dev/shm") == ""
    errors = [inspect(daemon, name)["State"]["Error"] for name in names]
    assert errors == [""] * len(names), json.dumps(errors)
    address = address_of(daemon, "zz-donor")
    assert address in inside(daemon, "linked", "grep up /etc/hosts")
    assert address in inside(daemon, "joiner-3", "ip addr show eth0")
