"""The JSON answers of an engine in a swarm, held against the Engine API's definition.

Skipped where the definition is not at hand, as `test_openapi_walk`.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator

import pytest

from services.networks.model import GATEWAY_BRIDGE
from tests.engine.test_openapi_walk import VERSIONS, Stage
from tests.services.api.openapi import require_definition
from tests.support.daemon import running_daemon, wait_until
from tests.support.ports import free_port

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

DATA = base64.b64encode(b"text").decode()


@pytest.fixture(scope="module")
def swarm() -> Iterator[Stage]:
    """An engine that is a swarm by itself, with a service that runs, a secret and a config."""
    definition = require_definition()
    with running_daemon("--swarm-default-advertise-addr", "127.0.0.1") as daemon:
        daemon.own_gateway()
        stage = Stage(daemon=daemon, definition=definition)
        address = f"127.0.0.1:{free_port()}"
        port = free_port(socket.SOCK_DGRAM)
        body = {"ListenAddr": address, "DataPathPort": port, "AdvertiseAddr": "127.0.0.1"}
        stage.check("SwarmInit", "POST /swarm/init", body)
        for kind, operation in (("secrets", "SecretCreate"), ("configs", "ConfigCreate")):
            spec = {"Name": "one", "Labels": {"a": "b"}, "Data": DATA}
            stage.check(operation, f"POST /{kind}/create", spec, status=201)
        stage.check("ServiceCreate", "POST /services/create", service(), status=201)
        wait_until(lambda: running_tasks(stage), "the service runs", limit_s=120)
        yield stage
        stage.do("DELETE /services/web")
        wait_until(lambda: not stage.do("GET /containers/json?all=1"), "its tasks go", limit_s=120)
        stage.do("POST /swarm/leave?force=1")
        daemon.http("DELETE", f"/networks/{GATEWAY_BRIDGE}")


def service(**environment: str) -> dict[str, object]:
    """A service's spec with something in most of its members."""
    container = {
        "Image": "busybox",
        "Command": ["sleep"],
        "Args": ["1000"],
        "Env": [f"{name}={text}" for name, text in environment.items()],
        "StopGracePeriod": 0,
        "Labels": {"c": "d"},
    }
    template = {
        "ContainerSpec": container,
        "Resources": {"Limits": {"MemoryBytes": 2**26}, "Reservations": {"NanoCPUs": 10**7}},
        "RestartPolicy": {"Condition": "on-failure", "Delay": 10**9, "MaxAttempts": 2},
        "Placement": {"Constraints": ["node.role==manager"]},
    }
    return {
        "Name": "web",
        "Labels": {"a": "b"},
        "TaskTemplate": template,
        "Mode": {"Replicated": {"Replicas": 1}},
        "UpdateConfig": {"Parallelism": 1, "Order": "start-first"},
        "EndpointSpec": {"Mode": "vip", "Ports": [{"TargetPort": 80, "Protocol": "tcp"}]},
    }


def running_tasks(stage: Stage) -> list[dict[str, object]]:
    """The service's tasks that run."""
    tasks: list[dict[str, dict[str, object]]] = stage.do("GET /tasks")
    return [dict(task) for task in tasks if task["Status"]["State"] == "running"]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_there(swarm: Stage, version: str) -> None:
    """Lists and inspects fit in every version, and none is empty."""
    swarm.check("SwarmInspect", "GET /swarm", version=version)
    swarm.check("SwarmUnlockkey", "GET /swarm/unlockkey", version=version)
    for kind, name in (("nodes", "Node"), ("services", "Service"), ("tasks", "Task")):
        (one, *_) = swarm.check(f"{name}List", f"GET /{kind}", version=version)
        swarm.check(f"{name}Inspect", f"GET /{kind}/{one['ID']}", version=version)
    for kind, name in (("secrets", "Secret"), ("configs", "Config")):
        (one,) = swarm.check(f"{name}List", f"GET /{kind}", version=version)
        found = swarm.check(f"{name}Inspect", f"GET /{kind}/{one['ID']}", version=version)
        assert found["Spec"].get("Data") == (DATA if name == "Config" else None)


def test_what_is_changed(swarm: Stage) -> None:
    """The answer to an update fits, and so does what is there while it goes on."""
    version = swarm.do("GET /services/web")["Version"]["Index"]
    path = f"POST /services/web/update?version={version}"
    swarm.check("ServiceUpdate", path, service(A="1"))
    (found,) = swarm.check("ServiceList", "GET /services?status=true")
    assert found["ServiceStatus"]["DesiredTasks"] == 1
    for task in swarm.check("TaskList", "GET /tasks"):
        swarm.check("TaskInspect", f"GET /tasks/{task['ID']}")
    answer = swarm.ask(path, service(A="2"))
    assert answer.status == 409
    assert "update out of sequence" in answer.message


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /services/nosuch", 404),
        ("GET /nodes/nosuch", 404),
        ("GET /tasks/nosuch", 404),
        ("GET /secrets/nosuch", 404),
        ("DELETE /configs/nosuch", 404),
        ("GET /services?filters=x", 400),
        ("POST /swarm/init", 503),
    ],
)
def test_errors(swarm: Stage, request_: str, status: int) -> None:
    """Whatever goes wrong, the answer is an ErrorResponse."""
    body = {"ListenAddr": "127.0.0.1:1"} if request_.startswith("POST") else None
    answer = swarm.ask(request_, body)
    assert answer.status == status, answer
    swarm.definition.validate_as("ErrorResponse", answer.json())
