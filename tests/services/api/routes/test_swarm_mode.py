"""Swarm mode's operations on the wire: outside of a swarm, on a worker, on a manager."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from services.api.cluster_face import ClusterFace, OutsideSwarm
from services.api.routes.cluster_modules import ClusterModules
from services.api.routes.swarm_mode import OPERATIONS, SwarmModeRoutes
from services.cluster.dispatcher.values import LogMessage
from services.cluster.model.objects import (
    ContainerStatus,
    Endpoint,
    JobStatus,
    NetworkAttachment,
    Stored,
    TaskStatus,
    UpdateStatus,
    VirtualIp,
)
from services.cluster.model.specs import (
    EndpointSpec,
    PortConfig,
    ReplicatedJob,
    ServiceMode,
    UpdateConfig,
)
from services.cluster.model.task_state import TaskState
from services.cluster.requests import InitRequest, JoinRequest
from tests.services.api.client import Answer, Api, api_of
from tests.services.api.openapi import require_definition
from tests.services.cluster.face import FakeLogs, Manager
from tests.services.cluster.objects import (
    EPOCH,
    config,
    container_spec,
    id_of,
    network,
    node,
    secret,
    service,
    task,
    with_config,
    with_secret,
)

WHOLE: Final = "/v1.56"


@asynccontextmanager
async def swarm_api(tmp_path: Path, face: ClusterFace) -> AsyncIterator[Api]:
    async with api_of(tmp_path, SwarmModeRoutes(ClusterModules(face)).blueprint()) as api:
        yield api


async def send(api: Api, method: str, path: str, body: object = None, **headers: str) -> Answer:
    """A request with a JSON body, of the newest version."""
    data = b"" if body is None else json.dumps(body).encode()
    path = path if path.startswith("/v1") else WHOLE + path
    return await api.call(method, path, data, Content_Type="application/json", **headers)


def everything() -> list[Stored]:
    """A cluster with one of each thing, all of whose fields say something."""
    key, file, front = secret("key", labels={"a": "b"}), config("file"), network("front")
    ports = [PortConfig(target_port=80, published_port=8080)]
    web = service(
        "web",
        labels={"tier": "front"},
        container=container_spec(
            env=["A=b"], secrets=[with_secret(key)], configs=[with_config(file)],
            registry_auth="c2VjcmV0",
        ),
        endpoint_spec=EndpointSpec(ports=ports),
        update_config=UpdateConfig(),
        endpoint=Endpoint(
            spec=EndpointSpec(ports=ports),
            ports=ports,
            virtual_ips=[VirtualIp(network_id=front.id, addr="10.0.1.2/24")],
        ),
        update_status=UpdateStatus(state="updating", started_at=EPOCH, message="on its way"),
        previous_spec=service("web").spec,
    )  # fmt: skip
    mode = ServiceMode(replicated_job=ReplicatedJob(max_concurrent=1, total_completions=2))
    job = service("job", mode=mode, job_status=JobStatus(iteration=3, last_execution=EPOCH))
    status = TaskStatus(
        state=TaskState.FAILED,
        timestamp=EPOCH,
        message="started",
        err="task: non-zero exit (3)",
        container=ContainerStatus(container_id="f" * 64, pid=0, exit_code=3),
        ports=ports,
    )
    place = NetworkAttachment(network_id=front.id, addresses=["10.0.1.3/24"])
    failed = replace(task("t1", web), status=status, networks=[place], job_iteration=1)
    return [key, file, front, web, job, failed, node("m1", manager=True), node("n1")]


async def test_outside_of_a_swarm_each_operation_says_so(tmp_path: Path) -> None:
    """503 with dockerd's sentence; to begin or join one is another thing."""
    async with swarm_api(tmp_path, OutsideSwarm()) as api:
        for operation in OPERATIONS:
            if not operation.outside:
                continue
            method, _, rule = operation.rule.partition(" ")
            answer = await send(api, method, rule.replace("<ref>", "x"), {})
            assert answer.status == 503, operation
            expected = (
                "This node is not part of a swarm"
                if operation.view == "leave"
                else 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm '
                'join" to connect this node to swarm and try again.'
            )
            assert answer.message == expected


async def test_a_worker_says_so(tmp_path: Path) -> None:
    """It is in a swarm, but cannot look at it."""
    async with swarm_api(tmp_path, Manager(is_worker=True)) as api:
        for path in ("/nodes", "/services", "/tasks/x", "/secrets", "/configs/x", "/swarm"):
            answer = await send(api, "GET", path)
            assert answer.status == 503, path
            assert answer.message.startswith(
                "This node is not a swarm manager. Worker nodes can't be used to view or modify"
            )


async def test_answers_are_as_defined(tmp_path: Path) -> None:
    """Lists and inspections of one of each thing."""
    definition = require_definition()
    async with swarm_api(tmp_path, Manager(*everything())) as api:
        for path, listed, inspected, refs in (
            ("/nodes", "NodeList", "NodeInspect", ("m1", "n1")),
            ("/services", "ServiceList", "ServiceInspect", ("web", "job")),
            ("/tasks", "TaskList", "TaskInspect", ("t1",)),
            ("/secrets", "SecretList", "SecretInspect", ("key",)),
            ("/configs", "ConfigList", "ConfigInspect", ("file",)),
        ):
            answer = await send(api, "GET", path)
            assert answer.status == 200, answer.body
            definition.validate(listed, 200, answer.json())
            assert len(answer.json()) == len(refs)
            for ref in refs:
                one = await send(api, "GET", f"{path}/{ref}")
                assert one.status == 200, one.body
                definition.validate(inspected, 200, one.json())
            missing = await send(api, "GET", f"{path}/zzz")
            assert (missing.status, missing.message) == (404, f"{path[1:-1]} zzz not found")
        swarm = await send(api, "GET", "/swarm")
        definition.validate("SwarmInspect", 200, swarm.json())
        assert swarm.json()["DefaultAddrPool"] == ["10.0.0.0/8"]


async def test_what_is_old_is_said_to_be(tmp_path: Path) -> None:
    """Without a quorum a manager answers what it knew, and since when it knows nothing newer."""
    manager = Manager(*everything())
    async with swarm_api(tmp_path, manager) as api:
        fresh = await send(api, "GET", "/nodes")
        manager.store.age_s = 12.7
        stale = await send(api, "GET", "/nodes")
    assert "age" not in fresh.headers
    assert stale.headers["age"] == "12"
    assert stale.body == fresh.body


async def test_what_another_manager_has_is_found(tmp_path: Path) -> None:
    """This one has not read it yet; what nobody has is not there."""
    manager = Manager(node("m1", manager=True))
    async with swarm_api(tmp_path, manager) as api:
        assert (await send(api, "GET", "/services/web")).status == 404
        manager.store.lagging.append(service("web"))
        assert (await send(api, "GET", "/services/web")).status == 200


async def test_nothing_secret_is_answered(tmp_path: Path) -> None:
    """Not the data of secrets, nor credentials for registries, nor keys."""
    manager = Manager(*everything())
    async with swarm_api(tmp_path, manager) as api:
        said = b""
        for path in (
            "/nodes", "/services", "/tasks", "/secrets", "/swarm", "/services/web", "/secrets/key",
            "/services/web?insertDefaults=true", "/tasks/t1",
        ):  # fmt: skip
            said += (await send(api, "GET", path)).body
        config_ = (await send(api, "GET", "/configs/file")).json()
    for hidden in (b"c2VjcmV0", b"PRIVATE", b"RegistryAuth", b"SigningCAKey"):
        assert hidden not in said
    root = manager.store.snapshot().cluster.root_ca
    assert root.join_tokens.worker not in said.decode().replace("SWMTKN-1-", "").split('"')
    assert config_["Spec"]["Data"] == "Y29uZmln"


async def test_a_service_shows_what_go_shows(tmp_path: Path) -> None:
    """Zeros that Go leaves in, words for what is open, no field of ours."""
    async with swarm_api(tmp_path, Manager(*everything())) as api:
        web = (await send(api, "GET", "/services/web")).json()
    spec = web["Spec"]
    assert spec["UpdateConfig"] == {
        "Parallelism": 0, "MaxFailureRatio": 0, "FailureAction": "pause", "Order": "stop-first",
    }  # fmt: skip
    assert spec["Mode"] == {"Replicated": {"Replicas": 1}}
    port = {
        "Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress",
    }  # fmt: skip
    assert spec["EndpointSpec"] == {"Mode": "vip", "Ports": [port]}
    assert spec["TaskTemplate"]["ForceUpdate"] == 0
    assert spec["TaskTemplate"]["Runtime"] == "container"
    assert spec["TaskTemplate"]["ContainerSpec"]["Secrets"] == [
        {
            "File": {"Name": "key", "UID": "0", "GID": "0", "Mode": 292},
            "SecretID": id_of("key"),
            "SecretName": "key",
        }
    ]
    assert web["PreviousSpec"]["Labels"] == {}
    assert web["Endpoint"]["VirtualIPs"] == [{"NetworkID": id_of("front"), "Addr": "10.0.1.2/24"}]


async def test_the_life_of_a_service(tmp_path: Path) -> None:
    """Create, update at its version, roll back, list with counts, remove."""
    manager = Manager(node("m1", manager=True))
    definition = require_definition()
    body: dict[str, Any] = {
        "Name": "web",
        "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}},
        "Mode": {"Replicated": {"Replicas": 2}},
    }
    async with swarm_api(tmp_path, manager) as api:
        made = await send(api, "POST", "/services/create", body, X_Registry_Auth="auth")
        definition.validate("ServiceCreate", 201, made.json())
        again = await send(api, "POST", "/services/create", body)
        assert again.status == 409
        version = (await send(api, "GET", "/services/web")).json()["Version"]["Index"]
        scaled = {**body, "Mode": {"Replicated": {"Replicas": 5}}}
        path = f"/services/web/update?version={version}"
        updated = await send(api, "POST", path, scaled)
        definition.validate("ServiceUpdate", 200, updated.json())
        stale = await send(api, "POST", path, scaled)
        assert stale.status == 409
        assert "update out of sequence" in stale.message
        (listed,) = (await send(api, "GET", "/services?status=true")).json()
        assert listed["ServiceStatus"] == {
            "RunningTasks": 0, "DesiredTasks": 5, "CompletedTasks": 0,
        }  # fmt: skip
        version = listed["Version"]["Index"]
        await send(api, "POST", f"/services/web/update?version={version}&rollback=previous", body)
        back = (await send(api, "GET", "/services/web")).json()
        assert back["Spec"]["Mode"]["Replicated"]["Replicas"] == 2
        assert back["UpdateStatus"]["State"] == "rollback_started"
        assert (await send(api, "DELETE", "/services/web")).status == 200
        assert (await send(api, "DELETE", "/services/web")).status == 404


async def test_versions_that_are_none(tmp_path: Path) -> None:
    """strconv's words."""
    manager = Manager(*everything())
    body = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}}}
    async with swarm_api(tmp_path, manager) as api:
        for path, version, text in (
            ("/services/web", "", "invalid service version '': strconv.ParseUint: parsing \"\": "),
            ("/nodes/m1", "-1", "invalid node version '-1': strconv.ParseUint: parsing \"-1\": "),
            ("/secrets/key", "x", "invalid secret version"),
            ("/configs/file", "x", "invalid config version"),
        ):
            answer = await send(api, "POST", f"{path}/update?version={version}", body)
            assert answer.status == 400
            assert answer.message.startswith(text)


async def test_an_older_client_means_less(tmp_path: Path) -> None:
    """Before 1.30 the registry is asked; before 1.41 there are no jobs and no counts."""
    manager = Manager()
    body = {
        "Name": "web",
        "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}},
        "Mode": {"GlobalJob": {}},
    }
    async with swarm_api(tmp_path, manager) as api:
        await send(api, "POST", "/v1.29/services/create", body)
        made = (await send(api, "GET", "/services/web")).json()
        (listed,) = (await send(api, "GET", "/v1.40/services?status=true")).json()
    assert manager.registry.asked == [("busybox", "")]
    assert made["Spec"]["Mode"] == {"Replicated": {"Replicas": 1}}
    assert "ServiceStatus" not in listed


async def test_the_life_of_a_secret(tmp_path: Path) -> None:
    """Created, labelled, removed; a template of an older client is refused."""
    definition = require_definition()
    async with swarm_api(tmp_path, Manager()) as api:
        made = await send(api, "POST", "/secrets/create", {"Name": "key", "Data": "AAEC"})
        definition.validate("SecretCreate", 201, made.json())
        version = (await send(api, "GET", "/secrets/key")).json()["Version"]["Index"]
        path = f"/secrets/key/update?version={version}"
        assert (await send(api, "POST", path, {"Name": "key", "Labels": {"a": "b"}})).status == 200
        found = (await send(api, "GET", "/secrets/key")).json()
        assert found["Spec"] == {"Name": "key", "Labels": {"a": "b"}}
        gone = await send(api, "DELETE", f"/secrets/{found['ID']}")
        assert (gone.status, gone.body) == (204, b"")
        templated = {"Name": "t", "Data": "AAEC", "Templating": {"Name": "golang"}}
        old = await send(api, "POST", "/v1.36/secrets/create", templated)
        assert old.status == 400
        assert "templating is not supported on the specified API version: 1.36" in old.message


async def test_a_node_is_changed_and_removed(tmp_path: Path) -> None:
    """By force while it is up."""
    async with swarm_api(tmp_path, Manager(node("m1", manager=True), node("w1"))) as api:
        version = (await send(api, "GET", "/nodes/w1")).json()["Version"]["Index"]
        spec = {"Role": "worker", "Availability": "drain", "Labels": {"a": "b"}}
        done = await send(api, "POST", f"/nodes/w1/update?version={version}", spec)
        assert done.status == 200
        assert (await send(api, "GET", "/nodes/w1")).json()["Spec"] == spec
        assert (await send(api, "DELETE", "/nodes/w1")).status == 400
        assert (await send(api, "DELETE", "/nodes/w1?force=1")).status == 200


async def test_swarm_operations_reach_the_node(tmp_path: Path) -> None:
    """Init and join are checked before; the settings go to the cluster."""
    manager = Manager()
    async with swarm_api(tmp_path, manager) as api:
        begun = await send(api, "POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377"})
        assert begun.json() == id_of("m1")
        bad = await send(api, "POST", "/swarm/init", {"ListenAddr": ""})
        assert (bad.status, len(manager.calls)) == (400, 1)
        old = {"ListenAddr": "a", "DataPathPort": 7777, "SubnetSize": 20}
        await send(api, "POST", "/v1.38/swarm/init", old)
        join = {"ListenAddr": "a", "RemoteAddrs": ["10.0.0.1"], "JoinToken": "t"}
        await send(api, "POST", "/swarm/join", join)
        await send(api, "POST", "/swarm/leave?force=true")
        await send(api, "POST", "/swarm/unlock", {"UnlockKey": "k"})
        swarm = (await send(api, "GET", "/swarm")).json()
        locked = {**swarm["Spec"], "EncryptionConfig": {"AutoLockManagers": True}}
        path = f"/swarm/update?version={swarm['Version']['Index']}&rotateWorkerToken=true"
        assert (await send(api, "POST", path, locked)).status == 200
        after = (await send(api, "GET", "/swarm")).json()
        key = (await send(api, "GET", "/swarm/unlockkey")).json()
    first, second, third = manager.calls[:3]
    assert isinstance(first, InitRequest)
    assert isinstance(second, InitRequest)
    assert isinstance(third, JoinRequest)
    assert (second.data_path_port, second.subnet_size) == (4789, 24)
    assert manager.calls[3:] == [True, "k"]
    assert after["JoinTokens"]["Worker"] != swarm["JoinTokens"]["Worker"]
    assert after["JoinTokens"]["Manager"] == swarm["JoinTokens"]["Manager"]
    assert key["UnlockKey"].startswith("SWMKEY-1-")


def message(stream: str, data: bytes) -> LogMessage:
    return LogMessage(
        task_id="t", node_id="n", service_id="s", timestamp_ns=1_700_000_000_120_000_000,
        stream=stream, data=data, details={"color": "red & blue"},
    )  # fmt: skip


async def test_logs_are_framed_and_say_whose_they_are(tmp_path: Path) -> None:
    """The details are what the CLI takes the task's name from."""
    manager = Manager(*everything())
    manager.logs.messages = [message("stdout", b"one\n"), message("stderr", b"two\n")]
    query = "stdout=1&stderr=1&details=1&timestamps=1&tail=5&since=1700000000.5"
    async with swarm_api(tmp_path, manager) as api:
        answer = await send(api, "GET", f"/services/web/logs?{query}")
        of_task = await send(api, "GET", "/tasks/t1/logs?stderr=1&follow=1")
    head = (
        b"2023-11-14T22:13:20.120000000Z color=red+%26+blue,com.docker.swarm.node.id=n,"
        b"com.docker.swarm.service.id=s,com.docker.swarm.task.id=t "
    )
    size = len(head + b"one\n").to_bytes(4, "big")
    frames = (b"\x01\0\0\0", b"\x02\0\0\0")
    assert answer.body == frames[0] + size + head + b"one\n" + frames[1] + size + head + b"two\n"
    assert answer.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert of_task.body.endswith(b"two\n")
    (selector, options), (task_selector, task_options) = manager.logs.asked
    assert (selector.service_ids, options.tail, options.follow) == ((id_of("web"),), 5, False)
    assert options.since is not None
    assert options.since.timestamp() == 1_700_000_000.5
    assert (task_selector.task_ids, task_options.stdout) == ((id_of("t1"),), False)
    assert task_options.follow


async def test_logs_of_a_terminal_are_raw(tmp_path: Path) -> None:
    """Nothing tells streams apart there."""
    manager = Manager(service("web", container=container_spec(tty=True)))
    manager.logs = FakeLogs([message("stdout", b"one\r\n")])
    manager.control().logs = manager.logs  # type: ignore[misc]
    async with swarm_api(tmp_path, manager) as api:
        answer = await send(api, "GET", "/services/web/logs?stdout=1")
    assert answer.body == b"one\r\n"
    assert answer.headers["content-type"] == "application/vnd.docker.raw-stream"


async def test_logs_that_cannot_be_asked_for(tmp_path: Path) -> None:
    """Before anything is streamed."""
    async with swarm_api(tmp_path, Manager(*everything())) as api:
        for path, status, text in (
            ("/services/web/logs", 400, "Bad parameters: you must choose at least one stream"),
            ("/services/web/logs?stdout=1&tail=-1", 400, "negative tail values not supported"),
            ("/services/web/logs?stdout=1&tail=x", 400, "tail value must be a positive integer"),
            ("/services/zzz/logs?stdout=1", 404, "service zzz not found"),
            ("/tasks/zzz/logs?stdout=1", 404, "task zzz not found"),
        ):
            answer = await send(api, "GET", path)
            assert answer.status == status, path
            assert answer.message.startswith(text)


PROGRAM: Final = """
import sys
import supervisor.parts, supervisor.faces.routes, supervisor.tree
print(", ".join(sorted(name for name in sys.modules if name.startswith("services.cluster"))))
"""


def test_an_engine_in_no_swarm_loads_nothing_of_it() -> None:
    """Neither the daemon's parts nor its routes bring services.cluster along."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")
