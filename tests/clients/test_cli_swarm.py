"""Swarm mode with the real CLI on one engine: init, services that run, secrets, stacks, leave."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from services.networks.model import GATEWAY_BRIDGE
from tests.support.daemon import Daemon, require_docker, running_daemon, wait_until
from tests.support.ports import free_port

pytestmark = [pytest.mark.engine, pytest.mark.clients, pytest.mark.timeout(400)]

LIMIT_S: Final = 90.0
QUICK: Final = ("--no-resolve-image", "--stop-grace-period", "1s")
LOOP: Final = ("sh", "-c", "echo hello; exec sleep 1000")


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    """An engine that may be a swarm by itself; afterwards it is in none."""
    require_docker()
    flags = ("--swarm-default-advertise-addr", "127.0.0.1", "--node-generic-resource", "ssd=3")
    with running_daemon(*flags) as daemon:
        daemon.own_gateway()
        yield daemon
        if role(daemon) != "inactive":
            daemon.docker("swarm", "leave", "--force")
        # As dockerd's, it stays when the engine leaves.
        daemon.docker("network", "rm", GATEWAY_BRIDGE)


@pytest.fixture
def manager(engine: Daemon) -> Daemon:
    """It, in a swarm of its own."""
    if role(engine) == "inactive":
        engine.docker(
            "swarm", "init", "--listen-addr", f"127.0.0.1:{free_port()}",
            "--data-path-port", str(free_port(socket.SOCK_DGRAM)),
        )  # fmt: skip
    return engine


def role(daemon: Daemon) -> str:
    """What a ping says of the engine's part in a swarm."""
    return daemon.http("HEAD", "/_ping").headers["swarm"]


def wait_said(daemon: Daemon, text: str, *words: str) -> str:
    """What a command says once `text` is in it."""
    said = ""

    def is_said() -> bool:
        nonlocal said
        said = daemon.docker(*words).text
        return text in said

    wait_until(is_said, f"{text} in {' '.join(words)}", limit_s=LIMIT_S)
    return said


def tasks_containers(daemon: Daemon, service: str) -> list[str]:
    """Ids of a service's containers that run."""
    label = f"label=com.docker.swarm.service.name={service}"
    return daemon.docker("ps", "-q", "--filter", label).text.split()


def test_a_service_runs(manager: Daemon) -> None:
    """Its tasks are containers with its secret in them; it is scaled, updated, logged, removed."""
    manager.docker("secret", "create", "key", "-", stdin=b"hidden")
    manager.docker("config", "create", "file", "-", stdin=b"shown")
    manager.docker(
        "service", "create", "-d", "--name", "web", "--replicas", "2", *QUICK,
        "--secret", "key", "--config", "source=file,target=/etc/file", "-e", "A={{.Task.Slot}}",
        "busybox", *LOOP,
    )  # fmt: skip
    wait_said(manager, "2/2", "service", "ls")
    containers = tasks_containers(manager, "web")
    assert len(containers) == 2
    for name, text in (("/run/secrets/key", "hidden"), ("/etc/file", "shown")):
        assert manager.docker("exec", containers[0], "cat", name).text == text
    logs = ("service", "logs", "--raw", "web")
    wait_until(lambda: manager.docker(*logs).text.split() == ["hello"] * 2, "both have said it")
    manager.docker("service", "scale", "-d", "web=1")
    wait_said(manager, "1/1", "service", "ls")
    manager.docker(
        "service", "update", "-d", "--update-monitor", "100ms", "--env-add", "B=1", "web"
    )
    wait_said(manager, "completed", "service", "inspect", "--pretty", "web")
    (container,) = tasks_containers(manager, "web")
    environment = manager.docker("exec", container, "env").text.split()
    assert {"A=1", "B=1"} <= set(environment)
    events = manager.docker(
        "events", "--since", "1h", "--until", "0s", "--filter", "scope=swarm",
        "--filter", "type=service", "--format", "{{.Action}}",
    ).text.split()  # fmt: skip
    assert events[0] == "create"
    manager.docker("service", "rm", "web")
    wait_until(lambda: not tasks_containers(manager, "web"), "its tasks end", limit_s=LIMIT_S)
    manager.docker("secret", "rm", "key")
    manager.docker("config", "rm", "file")


def test_a_service_in_the_hosts_network(manager: Daemon) -> None:
    """A network that each node has of its own, named as it is for containers."""
    manager.docker(
        "service", "create", "-d", "--name", "web", "--network", "host", *QUICK, "busybox", *LOOP
    )
    wait_said(manager, "1/1", "service", "ls")
    (container,) = tasks_containers(manager, "web")
    mode = manager.docker("inspect", container, "-f", "{{.HostConfig.NetworkMode}}").text
    assert mode == "host"
    assert manager.docker("network", "ls", "--format", "{{.Name}}").text.split().count("host") == 1
    manager.docker("service", "rm", "web")
    wait_until(lambda: not tasks_containers(manager, "web"), "its task ends", limit_s=LIMIT_S)


STACK: Final[dict[str, Any]] = {
    "services": {
        "web": {
            "image": "busybox",
            "command": list(LOOP),
            "stop_grace_period": "1s",
            "networks": ["front"],
            "deploy": {"replicas": 2},
        }
    },
    "networks": {"front": {}},
}


def test_a_stack(manager: Daemon, tmp_path: Path) -> None:
    """deploy, ls, services, ps, rm: on an overlay network of its own."""
    file = tmp_path / "stack.json"
    file.write_text(json.dumps(STACK))
    manager.docker(
        "stack", "deploy", "--resolve-image", "never", "--detach=true", "-c", str(file), "app"
    )
    wait_said(manager, "2/2", "stack", "services", "app")
    assert "app_front" in manager.docker("network", "ls", "--filter", "scope=swarm").text
    assert manager.docker("stack", "ls", "--format", "{{.Name}} {{.Services}}").text == "app 1"
    containers = tasks_containers(manager, "app_web")
    asked = ("exec", containers[0], "nslookup", "tasks.web")
    wait_until(lambda: manager.docker(*asked, code=None).text.count("Address") >= 2, "both found")
    manager.docker("stack", "rm", "app")
    wait_until(
        lambda: "app_front" not in manager.docker("network", "ls").text, "its network goes",
        limit_s=LIMIT_S,
    )  # fmt: skip


def test_a_swarm_of_one(manager: Daemon) -> None:
    """It begins, is seen by ping, info and node ls, refuses a second beginning, and ends."""
    assert role(manager) == "active/manager"
    wait_said(manager, "Leader", "node", "ls")
    swarm = json.loads(manager.docker("info", "-f", "{{json .Swarm}}").text)
    assert (swarm["LocalNodeState"], swarm["ControlAvailable"], swarm["Nodes"]) == (
        "active",
        True,
        1,
    )
    again = manager.docker("swarm", "init", code=1).error_text
    assert "This node is already part of a swarm" in again
    lonely = manager.docker("swarm", "leave", code=1).error_text
    assert "Removing the last manager erases all current state of the swarm" in lonely
    manager.docker("swarm", "leave", "--force")
    assert role(manager) == "inactive"
    outside = manager.docker("node", "ls", code=1).error_text
    assert 'This node is not a swarm manager. Use "docker swarm init"' in outside
