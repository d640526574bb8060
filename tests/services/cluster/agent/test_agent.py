"""The agent with real containers: a daemon of its own, and managers that the test speaks for."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.cluster.dispatcher.values import Backend, NetworkView, ServiceView
from services.cluster.model.objects import Config, Endpoint, NetworkAttachment, Secret, Task
from services.cluster.model.specs import ConfigSpec, Driver, PortConfig, SecretSpec
from services.cluster.model.task_spec import ConfigReference, FileTarget, SecretReference
from services.cluster.model.task_state import TaskState
from services.containers.config import HealthConfig
from tests.services.cluster.agent.scene import AgentDaemon, agent_daemon, wait_until
from tests.services.cluster.agent.support import AT, overlay, task
from tests.support.registry import PASSWORD, USER, running_registry

pytestmark = pytest.mark.engine

HANDMADE = ("mine", "guest", "again")
"""Containers that tests start themselves."""


@pytest.fixture(scope="module")
def shared() -> Iterator[AgentDaemon]:
    """One daemon for the tests of this module that do not kill it."""
    with agent_daemon() as daemon:
        yield daemon


@pytest.fixture
def daemon(shared: AgentDaemon) -> Iterator[AgentDaemon]:
    """The shared one; nothing is assigned after the test, and nothing is left."""
    yield shared
    shared.assign()
    shared.docker("rm", "-f", *HANDMADE)
    wait_until(lambda: shared.containers() == [], "the containers to be removed")
    assert mounts_below(shared.exec_root / "tasks") == []


def sleeper(task_id: str, **changes: Any) -> Task:
    args = ["sh", "-c", "echo up; exec sleep 1000"]
    container = {"args": args, "init": True, **changes.pop("container", {})}
    return task(task_id=task_id, container=container, **changes)


def asked(one: Task, desired: TaskState) -> Task:
    return msgspec.structs.replace(one, desired_state=desired)


def mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(f"{folder}/")]


def test_a_task_from_assignment_to_removal(daemon: AgentDaemon) -> None:
    """Every state is told, the container is dockerd's, and nothing is left in the end."""
    one = sleeper("a1")
    daemon.assign(one)
    running = daemon.wait_state("a1", TaskState.RUNNING)
    assert daemon.history("a1") == ["accepted", "preparing", "ready", "starting", "running"]
    shown = daemon.inspect("web.1.a1")
    assert running.container is not None
    assert running.running_at is not None
    assert (running.container.container_id, running.container.pid) == (
        shown["Id"],
        shown["State"]["Pid"],
    )
    assert shown["Config"]["Labels"]["com.docker.swarm.task.id"] == "a1"
    daemon.wait_up("web.1.a1")
    daemon.assign(asked(one, TaskState.SHUTDOWN))
    ended = daemon.wait_state("a1", TaskState.SHUTDOWN)
    assert ended.container is not None
    assert ended.container.exit_code == 143
    assert daemon.containers() == ["web.1.a1"]  # until the managers forget the task


def test_exits(daemon: AgentDaemon) -> None:
    """0 is COMPLETE; another code is FAILED in dockerd's words."""
    good = task(task_id="e0", container={"args": ["true"]})
    bad = task(task_id="e3", container={"args": ["sh", "-c", "exit 3"]})
    none = task(task_id="e9", container={"args": ["/nothing"]})
    daemon.assign(good, bad, none)
    daemon.wait_state("e0", TaskState.COMPLETE)
    failed = daemon.wait_state("e3", TaskState.FAILED)
    assert failed.err == "task: non-zero exit (3)"
    assert failed.container is not None
    assert failed.container.exit_code == 3
    unstartable = daemon.wait_state("e9", TaskState.FAILED)
    assert unstartable.err.startswith("starting container failed: ")


def test_rejections(daemon: AgentDaemon) -> None:
    """What cannot be made is rejected before it starts, and says why."""
    image = task(task_id="r1", container={"image": "localhost:1/none:1"})
    template = task(task_id="r2", container={"hostname": "{{.None}}"})
    daemon.assign(image, template)
    assert "No such image: localhost:1/none:1" in daemon.wait_state("r1", TaskState.REJECTED).err
    assert "expanding hostname failed" in daemon.wait_state("r2", TaskState.REJECTED).err


def test_images_come_from_registries_that_want_a_password(
    daemon: AgentDaemon, tmp_path: Path
) -> None:
    """With what came along with the task; without it the task says what the registry said."""
    with running_registry(tmp_path, passwords=True) as registry:
        image = f"{registry.host}/app:1"
        daemon.docker("tag", "busybox", image)
        daemon.docker("login", "-u", USER, "-p", PASSWORD, registry.host)
        daemon.docker("push", image)
        daemon.docker("rmi", image)
        shown = json.dumps({"username": USER, "password": PASSWORD}).encode()
        auth = base64.urlsafe_b64encode(shown).decode()
        daemon.assign(sleeper("i1", container={"image": image}))
        refused = daemon.wait_state("i1", TaskState.REJECTED).err
        assert refused.startswith(f"No such image: {image} (pull: ")
        daemon.assign(sleeper("i2", container={"image": image, "registry_auth": auth}))
        daemon.wait_state("i2", TaskState.RUNNING)
        assert auth not in daemon.log_text()
    kept = (daemon.data_root / "agent" / "tasks" / "i2.json").read_text()
    assert auth not in kept
    daemon.assign()
    wait_until(lambda: daemon.containers() == [], "the containers to be removed")
    daemon.docker("rmi", image)


def test_start_waits_until_it_is_asked_for(daemon: AgentDaemon) -> None:
    """Desired READY makes the container; RUNNING starts it."""
    one = sleeper("w1", desired=TaskState.READY)
    daemon.assign(one)
    daemon.wait_state("w1", TaskState.READY)
    assert daemon.inspect("web.1.w1")["State"]["Status"] == "created"
    daemon.assign(asked(one, TaskState.RUNNING), is_complete=False)
    daemon.wait_state("w1", TaskState.RUNNING)


def secret(secret_id: str, data: bytes, **spec: Any) -> Secret:
    text = base64.b64encode(data).decode()
    return Secret(id=secret_id, created_at=AT, updated_at=AT, spec=SecretSpec(data=text, **spec))


def config(config_id: str, data: bytes, **spec: Any) -> Config:
    text = base64.b64encode(data).decode()
    return Config(id=config_id, created_at=AT, updated_at=AT, spec=ConfigSpec(data=text, **spec))


def test_secrets_and_configs_are_files_in_memory(daemon: AgentDaemon) -> None:
    """With owner and mode, templates expanded; not on disk, not in inspect, gone with the run."""
    one = sleeper(
        "f1",
        container={
            "env": ["COLOR=blue"],
            "secrets": [
                SecretReference(
                    file=FileTarget(name="key", uid="7", gid="8", mode=0o440), secret_id="x1"
                )
            ],
            "configs": [
                ConfigReference(file=FileTarget(name="/etc/app.conf"), config_id="y1"),
                ConfigReference(runtime={}, config_id="y2"),
            ],
        },
    )
    daemon.assign(one)  # the secret comes later, as it may
    wait_until(
        lambda: (daemon.status("f1") or one.status).err == "secret reference x1 not found",
        "the agent to say what it lacks",
    )
    text = b'{{.Service.Name}} {{env "COLOR"}} {{secret "key"}}'
    templated = config("y1", text, templating=Driver(name="golang"))
    daemon.assign(one, secrets=(secret("x1", b"sesame-open"),), configs=(templated,))
    daemon.wait_state("f1", TaskState.RUNNING)
    name = "web.1.f1"
    assert daemon.docker_out("exec", name, "cat", "/run/secrets/key") == "sesame-open"
    shown = daemon.docker_out("exec", name, "stat", "-c", "%u:%g %a", "/run/secrets/key")
    assert shown.strip() == "7:8 440"
    assert daemon.docker_out("exec", name, "cat", "/etc/app.conf") == "web blue sesame-open"
    daemon.docker("exec", name, "sh", "-c", "echo x > /run/secrets/key", code=1)
    assert daemon.inspect(name)["Mounts"] == []
    found = subprocess.run(
        ["grep", "-rl", "sesame-open", str(daemon.data_root)], capture_output=True, check=False
    )
    assert found.stdout == b""
    assert "sesame-open" not in daemon.log_text()
    (folder,) = mounts_below(daemon.exec_root / "tasks")
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    daemon.assign(asked(one, TaskState.SHUTDOWN), is_complete=False)
    daemon.wait_state("f1", TaskState.SHUTDOWN)
    assert mounts_below(daemon.exec_root / "tasks") == []


def test_what_bears_a_tasks_labels_is_not_the_task(daemon: AgentDaemon) -> None:
    """An image of its container has them: who runs that gets no secrets, and is left alone."""
    reference = SecretReference(file=FileTarget(name="key"), secret_id="x1")
    one = sleeper("l1", container={"secrets": [reference]})
    daemon.assign(one, secrets=(secret("x1", b"sesame"),))
    daemon.wait_state("l1", TaskState.RUNNING)
    daemon.docker("commit", "web.1.l1", "derived")
    daemon.docker("run", "-d", "--name", "mine", "derived", "sleep", "1000")
    # The place of the mount is in the image, and nothing else.
    assert daemon.docker_out("exec", "mine", "cat", "/run/secrets/key") == ""
    listed = daemon.docker_out("ps", "-a", "--filter", "is-task=true", "--format", "{{.Names}}")
    assert listed.split() == ["web.1.l1"]
    daemon.docker("rm", "-f", "web.1.l1")
    daemon.wait_state("l1", TaskState.FAILED)
    daemon.assign()
    wait_until(lambda: "web.1.l1" not in daemon.containers(), "the task's container to go")
    assert daemon.inspect("mine")["State"]["Running"]
    daemon.docker("rm", "-f", "mine")
    daemon.docker("rmi", "derived")


def test_health_decides_when_it_runs(daemon: AgentDaemon) -> None:
    """STARTING until the first good probe; one that stays bad fails the task."""
    check = {"interval": 200_000_000, "retries": 2, "timeout": 30_000_000_000}
    fails = "until test -e /tmp/up; do sleep 0.1; done; false"  # once its end is an orderly one
    waits = HealthConfig(test=["CMD-SHELL", "test -e /tmp/ok"], retries=1000, interval=200_000_000)
    good = sleeper("h1", container={"health_check": waits})
    bad = sleeper(
        "h2",
        container={
            "args": ["sh", "-c", "touch /tmp/up; exec sleep 1000"],
            "health_check": HealthConfig(test=["CMD-SHELL", fails], **check),
        },
    )
    daemon.assign(good, bad)
    failed = daemon.wait_state("h2", TaskState.FAILED)
    assert failed.err == "task: non-zero exit (143): dockerexec: unhealthy container"
    assert (daemon.status("h1") or good.status).state is TaskState.STARTING
    daemon.docker_out("exec", "web.1.h1", "touch", "/tmp/ok")
    daemon.wait_state("h1", TaskState.RUNNING)


def test_unhealthy_while_it_runs(daemon: AgentDaemon) -> None:
    """It is stopped, and the task has failed for that reason."""
    test = HealthConfig(test=["CMD-SHELL", "test ! -e /tmp/bad"], interval=200_000_000, retries=2)
    daemon.assign(sleeper("u1", container={"health_check": test}))
    daemon.wait_state("u1", TaskState.RUNNING)
    daemon.docker_out("exec", "web.1.u1", "touch", "/tmp/bad")
    failed = daemon.wait_state("u1", TaskState.FAILED)
    assert failed.err.endswith("dockerexec: unhealthy container")


def test_ports_of_the_node(daemon: AgentDaemon) -> None:
    """A port that was left open is told as it was chosen, as long as the task runs."""
    ports = [PortConfig(name="http", target_port=80, publish_mode="host")]
    daemon.assign(sleeper("p1", endpoint=Endpoint(ports=ports)))
    status = daemon.wait_state("p1", TaskState.RUNNING)
    (port,) = status.ports
    assert (port.name, port.target_port, port.publish_mode) == ("http", 80, "host")
    shown = daemon.docker_out("port", "web.1.p1", "80/tcp").split()[0]
    assert shown.endswith(f":{port.published_port}")


def test_a_container_that_is_removed_by_hand(daemon: AgentDaemon) -> None:
    """The task has failed; nobody makes it anew but the managers."""
    daemon.assign(sleeper("d1"))
    daemon.wait_state("d1", TaskState.RUNNING)
    daemon.docker_out("rm", "-f", "web.1.d1")
    assert daemon.wait_state("d1", TaskState.FAILED).err == "task: non-zero exit (137)"


def test_cut_off(daemon: AgentDaemon) -> None:
    """Without managers tasks go on, and what happened meanwhile is told afterwards."""
    daemon.assign(sleeper("c1"))
    daemon.wait_state("c1", TaskState.RUNNING)
    daemon.ask(do="cut")
    daemon.docker_out("kill", "-s", "KILL", "web.1.c1")
    wait_until(
        lambda: daemon.inspect("web.1.c1")["State"]["Status"] == "exited", "the container's end"
    )
    assert (daemon.status("c1") or task().status).state is TaskState.RUNNING
    daemon.ask(do="mend")
    assert daemon.wait_state("c1", TaskState.FAILED).err == "task: non-zero exit (137)"


def test_logs_of_tasks(daemon: AgentDaemon) -> None:
    """What was written, what comes, and the end of it; of all tasks of a service."""
    script = "echo one; echo two >&2; until test -e /tmp/go; do sleep 0.1; done; echo three"
    one = task(task_id="g1", container={"args": ["sh", "-c", script]})
    daemon.assign(one)
    daemon.wait_state("g1", TaskState.RUNNING)
    selector = {"service_ids": [], "task_ids": ["g1"]}
    request = {"subscription_id": "sub1", "selector": selector, "options": {"follow": True}}
    daemon.ask(do="log", request=request)
    wait_until(lambda: len(daemon.ask(do="logs", id="sub1")["lines"]) == 2, "two lines")
    daemon.docker_out("exec", "web.1.g1", "touch", "/tmp/go")
    wait_until(lambda: daemon.ask(do="logs", id="sub1")["has_ended"], "the end of the log")
    lines = daemon.ask(do="logs", id="sub1")["lines"]
    assert sorted(lines[:2]) == [["g1", "stderr", "two\n"], ["g1", "stdout", "one\n"]]
    assert lines[2:] == [["g1", "stdout", "three\n"]]
    by_service = {"service_ids": ["s1"], "task_ids": []}
    tail = {"subscription_id": "sub2", "selector": by_service, "options": {"tail": 1}}
    daemon.ask(do="log", request=tail)
    wait_until(lambda: daemon.ask(do="logs", id="sub2")["has_ended"], "the end of the log")
    assert daemon.ask(do="logs", id="sub2")["lines"] == [["g1", "stdout", "three\n"]]


def test_tasks_in_a_network_of_the_cluster(daemon: AgentDaemon) -> None:
    """They have the addresses that were allocated, and reach a service by its name."""
    third = secrets.randbelow(250)
    prefix = f"10.99.{third}"
    serve = "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"
    served = task(
        task_id="n1",
        container={"args": ["sh", "-c", serve], "stop_signal": "SIGKILL"},
        networks=[NetworkAttachment(network_id="net1", addresses=[f"{prefix}.5/24"])],
    )
    client = sleeper(
        "n2",
        service_name="client",
        networks=[NetworkAttachment(network_id="net1", addresses=[f"{prefix}.6/24"])],
    )
    backend = Backend(task_id="n1", name=served.name, address=f"{prefix}.5", node_id="n1")
    service = ServiceView(id="s1", name="web", vip=f"{prefix}.2", backends=(backend,))
    daemon.assign(served, client)  # the network is told later
    view = NetworkView(network=overlay(third), services=(service,))
    daemon.assign(served, client, networks=(view,))
    daemon.wait_state("n1", TaskState.RUNNING)
    daemon.wait_state("n2", TaskState.RUNNING)
    shown = daemon.inspect("web.1.n1")["NetworkSettings"]["Networks"]
    assert {name: one["IPAddress"] for name, one in shown.items()} == {"back": f"{prefix}.5"}
    serves = f"until wget -qO /dev/null http://{prefix}.5/; do sleep 0.1; done"
    daemon.docker("exec", "client.1.n2", "sh", "-c", serves)
    for name in ("web", "web.1.n1", "tasks.web"):
        answer = daemon.docker_out("exec", "client.1.n2", "wget", "-qO-", f"http://{name}/")
        assert answer == "hello\n"


def test_a_container_by_hand_in_a_network_of_the_cluster(daemon: AgentDaemon) -> None:
    """The managers give it a place, which it keeps over restarts by policy, and gives back."""
    third = secrets.randbelow(250)
    daemon.assign(networks=(NetworkView(network=overlay(third)),))
    run = ("run", "-d", "--init", "--network", "back")
    daemon.docker(*run, "--name", "guest", "--network-alias", "g", "busybox", "sleep", "1000")
    daemon.wait_state("guest1", TaskState.RUNNING)
    place = daemon.inspect("guest")["NetworkSettings"]["Networks"]["back"]
    assert place["IPAddress"] == f"10.99.{third}.101"
    wish = daemon.ask(do="wishes")[0]
    assert wish["names"][:2] == ["guest", "g"]
    daemon.docker("network", "disconnect", "back", "guest")
    daemon.wait_state("guest1", TaskState.COMPLETE)
    daemon.docker("network", "connect", "--ip", f"10.99.{third}.50", "back", "guest")
    daemon.wait_state("guest2", TaskState.RUNNING)
    assert daemon.ask(do="wishes")[1]["addresses"] == [f"10.99.{third}.50"]
    daemon.docker("rm", "-f", "guest")
    daemon.wait_state("guest2", TaskState.COMPLETE)
    crash = ("sh", "-c", "until test -e /tmp/go; do sleep 0.1; done; exit 1")
    daemon.docker(*run, "--name", "again", "--restart", "on-failure:1", "busybox", *crash)
    daemon.wait_state("guest3", TaskState.RUNNING)
    daemon.docker("exec", "again", "touch", "/tmp/go")
    daemon.wait_state("guest3", TaskState.COMPLETE)  # when it is not to come back
    assert daemon.inspect("again")["RestartCount"] == 1
    assert len(daemon.ask(do="wishes")) == 3
    unknown = daemon.docker("run", "--rm", "--network", "nowhere", "busybox", "true", code=125)
    assert "network nowhere not found" in unknown.error_text
