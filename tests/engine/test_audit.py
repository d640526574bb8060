"""The audit of a real engine: clean in its usual life, and sharp when things are amiss."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from typing import Any

import pytest
import trio

from services.networks.nft.helper import running_helper
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine]

LOST = "f" * 64
OWN = {"X-Wharfinger": "test"}


def audit(daemon: Daemon, **query: str) -> Any:
    """The answer of an audit."""
    words = "&".join(f"{name}={value}" for name, value in query.items())
    answer = daemon.http("POST", f"/wharfinger/v1/audit?{words}", headers=OWN)
    assert answer.status == 200, answer.body
    return answer.json()


def found(answer: Any) -> set[tuple[str, str]]:
    """Kind and subject of each finding."""
    return {
        (finding["Kind"], finding["Subject"])
        for check in answer["Checks"]
        for finding in check["Findings"]
    }


def test_what_is_amiss_is_found_and_mended(fresh_daemon: Daemon) -> None:
    """Nothing with containers in every state; then each kind of leftover by its name; then nothing.

    What is the user's own, a volume's data, is taken up and not deleted.
    """
    daemon = fresh_daemon
    daemon.docker("run", "-d", "--name", "up", "-v", "vol:/v", "busybox", "sleep", "1000")
    daemon.docker("run", "--name", "over", "busybox", "true")
    daemon.docker("create", "--name", "new", "busybox", "true")
    assert audit(daemon)["Clean"], audit(daemon)

    data, exec_root = daemon.folder / "data", daemon.folder / "exec"
    (data / "containers" / LOST).mkdir()
    mounted = exec_root / "shm" / LOST
    mounted.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "shm", mounted], check=True)
    (data / "volumes" / "found" / "_data").mkdir(parents=True)
    lost = f"veth{LOST[:8]}"
    subprocess.run(
        ["ip", "link", "add", lost, "type", "veth", "peer", "name", f"wfa{daemon.bridge.name[2:]}"],
        check=True,
    )
    subprocess.run(["ip", "link", "set", lost, "master", daemon.bridge.name], check=True)
    assert found(audit(daemon)) >= {("links", lost)}
    subprocess.run(["ip", "link", "delete", lost], check=True)
    amiss = {
        ("folders", str(data / "containers" / LOST)),
        ("folders", str(mounted)),
        ("mounts", str(mounted)),
        ("volumes", "found"),
    }
    assert found(audit(daemon)) == amiss
    answer = audit(daemon, repair="1")
    assert answer["Clean"], answer
    assert {(mended["Kind"], mended["Subject"]) for mended in answer["Mended"]} == amiss
    assert daemon.docker("volume", "inspect", "found").code == 0
    assert daemon.docker("exec", "up", "true").code == 0


def test_a_page_of_another_site_cannot_ask(daemon: Daemon) -> None:
    """Nor whoever lacks the field that such a page cannot set."""
    for path in ("audit", "reload"):
        answer = daemon.http("POST", f"/wharfinger/v1/{path}")
        assert (answer.status, b"X-Wharfinger" in answer.body) == (403, True)
        origin = {**OWN, "Origin": "http://elsewhere.example"}
        assert daemon.http("POST", f"/wharfinger/v1/{path}", headers=origin).status == 403


def unseen(script: str) -> str:
    """Change nftables under the name of the engine's own helper, so that its watch is silent."""

    async def ask() -> str:
        async with running_helper() as (helper, _):
            return await helper.ask(script)

    return trio.run(ask)


def answers(port: int) -> bool:
    """Does the container behind a published port say its word?"""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            return connection.recv(10) == b"hi\n"
    except OSError:
        return False


def test_damaged_networks_are_found_and_mended(fresh_daemon: Daemon) -> None:
    """A map's element, a rule, a chain's rule too many, a container's link, a whole bridge."""
    daemon = fresh_daemon
    serve = ("busybox", "nc", "-ll", "-p", "80", "-e", "echo", "hi")
    for name, options in (("there", ()), ("apart", ("--network", "net"))):
        if options:
            daemon.docker("network", "create", "net")
        daemon.docker("run", "-d", "--name", name, "-p", "127.0.0.1::80", *options, *serve)
    ports = {
        name: int(daemon.docker("port", name, "80").text.rpartition(":")[2])
        for name in ("there", "apart")
    }
    wait_until(lambda: all(map(answers, ports.values())), what="both answer")
    assert audit(daemon)["Clean"], audit(daemon)

    table = f"wharfinger-{daemon.bridge.name}"
    chains = unseen(f"list chain inet {table} forward")
    rule = re.search(r"oifname vmap @into # handle (\d+)", chains)
    assert rule is not None
    elements = unseen(f"list map inet {table} pub4_ip")
    element = re.search(rf"127.0.0.1 \. tcp \. {ports['there']} : \S+ \. 80", elements)
    assert element is not None
    unseen(
        f"delete element inet {table} pub4_ip {{ {element[0].partition(' : ')[0]} }}\n"
        f"delete rule inet {table} forward handle {rule[1]}\n"
        f'add rule inet {table} forward iifname "nobody0" drop\n'
    )
    inspected = daemon.http("GET", "/networks/net").json()
    bridge = f"br-{inspected['Id'][:12]}"
    links = json.loads(subprocess.check_output(["ip", "-j", "link", "show"]))
    (link,) = [one["ifname"] for one in links if one.get("master") == daemon.bridge.name]
    for name in (link, bridge):
        subprocess.run(["ip", "link", "delete", name], check=True)
    assert not any(map(answers, ports.values()))

    answer = audit(daemon)
    kinds = found(answer)
    assert {
        ("firewall", f"map pub4_ip {element[0]}"),
        ("firewall", "chain forward"),
        ("links", link),
        ("links", bridge),
    } <= kinds
    texts = [one["Text"] for check in answer["Checks"] for one in check["Findings"]]
    assert "it lacks the rule: oifname vmap @into" in texts
    assert 'it has a rule that nobody made: iifname "nobody0" drop' in texts

    answer = audit(daemon, repair="1")
    assert answer["Clean"], answer
    mended = {(one["Kind"], one["Subject"]) for one in answer["Mended"]}
    assert {("links", link), ("links", bridge), ("firewall", "chain forward")} <= mended
    wait_until(lambda: all(map(answers, ports.values())), what="both answer again")
    ping = ("ping", "-c", "1", "-w", "30", daemon.bridge.address)
    assert daemon.docker("exec", "there", *ping).code == 0
    daemon.remove_containers()
    daemon.remove_networks()
