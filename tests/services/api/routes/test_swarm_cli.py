"""The docker CLI's commands for swarms, against the routes, a leader's rules and agents of air.

What a cluster of engines does is tested elsewhere; here is what people see.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
from quart import Blueprint

from services.api.routes.cluster_modules import ClusterModules
from services.api.routes.networks import NetworkRoutes
from services.api.routes.swarm_mode import SwarmModeRoutes
from services.api.types.cluster.swarm import swarm_info_to_wire
from services.api.wire.json_bodies import encode
from services.api.wire.responses import EngineResponse
from services.cluster.dispatcher.values import LogMessage
from tests.services.api.routes.test_networks import FakeContainers, FakeNetworks
from tests.services.api.support import ENGINE, build_app, serving
from tests.services.cluster.face import Manager
from tests.services.cluster.living import living_manager
from tests.services.cluster.objects import id_of
from tests.support.daemon import require_docker

LIMIT_S: Final = 60.0


class Cli:
    """The docker CLI at a manager's socket."""

    def __init__(self, socket: Path, manager: Manager) -> None:
        self._socket = socket
        self.manager = manager

    async def __call__(self, *words: str, stdin: bytes = b"", code: int = 0) -> str:
        """What it says; of one that fails, on its standard error."""
        with trio.fail_after(LIMIT_S):
            done = await trio.run_process(
                ["docker", "-H", f"unix://{self._socket}", *words],
                stdin=stdin, capture_stdout=True, capture_stderr=True, check=False,
            )  # fmt: skip
        assert done.returncode == code, (done.stdout, done.stderr)
        return (done.stderr if code else done.stdout).decode().strip()

    async def until(self, text: str, *words: str) -> str:
        """What the CLI says once it says `text`."""
        with trio.fail_after(LIMIT_S):
            while not re.search(text, said := await self(*words)):
                await trio.sleep(0.05)
        return said


@asynccontextmanager
async def cli_of(tmp_path: Path) -> AsyncIterator[Cli]:
    require_docker()
    async with living_manager() as manager:
        modules = ClusterModules(manager)
        networks = NetworkRoutes(FakeNetworks(), FakeContainers([]), modules)  # type: ignore[arg-type]
        blueprints = [
            SwarmModeRoutes(modules).blueprint(), networks.blueprint(), info_blueprint(manager),
        ]  # fmt: skip
        async with serving(build_app(blueprints, identity=ENGINE), tmp_path) as served:
            yield Cli(served.path, manager)


def info_blueprint(manager: Manager) -> Blueprint:
    """As much of GET /info as the commands look at."""

    async def info() -> EngineResponse:
        return EngineResponse(encode({"Swarm": swarm_info_to_wire(manager.info())}))

    blueprint = Blueprint("info", __name__)
    blueprint.add_url_rule("/info", "info", info)
    return blueprint


def columns(table: str) -> list[list[str]]:
    """A table's rows, without its head; cells are parted by blanks."""
    return [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()[1:]]


async def test_nodes(tmp_path: Path) -> None:
    """node ls, inspect, update, promote, demote, ps, rm."""
    async with cli_of(tmp_path) as docker:
        rows = columns(await docker("node", "ls"))
        assert [row[1:] for row in rows] == [
            ["m1", "Ready", "Active", "Leader", "1.0"],
            ["w1", "Ready", "Active", "1.0"],
        ]
        await docker("node", "update", "--availability", "drain", "--label-add", "zone=a", "w1")
        shown = await docker("node", "inspect", "--pretty", "w1")
        for line in ("zone=a", "Availability:", "Drain", "Engine Version:", "TLS Info:"):
            assert line in shown
        assert (
            await docker("node", "promote", "w1") == "Node w1 promoted to a manager in the swarm."
        )
        assert await docker("node", "demote", "w1") == "Manager w1 demoted in the swarm."
        refused = await docker("node", "demote", "m1", code=1)
        assert "attempting to demote the last manager of the swarm" in refused
        assert "is not down and can't be removed" in await docker("node", "rm", "w1", code=1)
        assert await docker("node", "rm", "--force", "w1") == "w1"
        assert "node w1 not found" in await docker("node", "rm", "w1", code=1)


async def test_a_service(tmp_path: Path) -> None:
    """service create, ls, ps, inspect, scale, update, rollback, rm."""
    async with cli_of(tmp_path) as docker:
        await docker(
            "service", "create", "-d", "--no-resolve-image", "--name", "web", "--replicas", "2",
            "-p", "8080:80", "-e", "A=b", "--label", "tier=front", "--limit-memory", "64M",
            "--constraint", "node.role!=ghost", "--update-delay", "1ms", "busybox",
        )  # fmt: skip
        listed = columns(await docker.until("2/2", "service", "ls"))
        assert listed[0][1:] == ["web", "replicated", "2/2", "busybox:latest", "*:8080->80/tcp"]
        tasks = columns(await docker("service", "ps", "web"))
        assert sorted(row[1] for row in tasks) == ["web.1", "web.2"]
        assert {row[4] for row in tasks} == {"Running"}
        shown = await docker("service", "inspect", "--pretty", "web")
        for line in ("Replicas:\t2", "PublishedPort = 8080", "node.role!=ghost", "64MiB"):
            assert line in shown
        await docker("service", "scale", "-d", "web=3")
        await docker.until("3/3", "service", "ls")
        await docker("service", "update", "-d", "--no-resolve-image", "--image", "busybox:2", "web")
        await docker.until("completed", "service", "inspect", "--pretty", "web")
        assert "busybox:2" in await docker("service", "ls")
        await docker("service", "rollback", "-d", "web")
        await docker.until("rollback completed", "service", "inspect", "--pretty", "web")
        assert "busybox:latest" in await docker("service", "ls")
        assert await docker("service", "rm", "web") == "web"
        assert columns(await docker("service", "ls")) == []


async def test_who_waits_sees_a_service_converge(tmp_path: Path) -> None:
    """The CLI follows tasks until they are stable, also of an update."""
    async with cli_of(tmp_path) as docker:
        said = await docker(
            "service", "create", "--no-resolve-image", "--name", "web", "--replicas", "2",
            "--update-monitor", "10ms", "busybox",
        )  # fmt: skip
        assert "verify: Service " in said
        assert "converged" in said
        await docker("service", "update", "--force", "web")
        shown = await docker("service", "inspect", "--pretty", "web")
        assert "completed" in shown


async def test_jobs_and_global_services(tmp_path: Path) -> None:
    """A job completes; a global service is on every node."""
    async with cli_of(tmp_path) as docker:
        create = ("service", "create", "-d", "--no-resolve-image")
        await docker(
            *create, "--name", "job", "--mode", "replicated-job", "--replicas", "2", "busybox"
        )
        await docker(*create, "--name", "agent", "--mode", "global", "busybox")
        await docker.until(r"job .* 0/2 \(2/2 completed\)", "service", "ls")
        await docker.until(r"agent .* 2/2", "service", "ls")
        nodes = {row[3] for row in columns(await docker("service", "ps", "agent"))}
        assert nodes == {"m1", "w1"}
        assert "agent." in await docker("node", "ps", "w1")


async def test_a_task_says_why_it_failed(tmp_path: Path) -> None:
    """ps shows it, and what has no place says why."""
    async with cli_of(tmp_path) as docker:
        create = ("service", "create", "-d", "--no-resolve-image", "--restart-condition", "none")
        await docker(*create, "--name", "bad", "fails")
        await docker.until("task: non-zero exit", "service", "ps", "--no-trunc", "bad")
        await docker(*create, "--name", "lost", "--constraint", "node.role==ghost", "busybox")
        await docker.until("no suitable node", "service", "ps", "--no-trunc", "lost")


async def test_secrets_and_configs(tmp_path: Path) -> None:
    """create, ls, inspect, use, rm; what is in use stays."""
    async with cli_of(tmp_path) as docker:
        for kind in ("secret", "config"):
            await docker(kind, "create", "--label", "a=b", "one", "-", stdin=b"hidden")
            assert columns(await docker(kind, "ls"))[0][1] == "one"
            shown = await docker(kind, "inspect", "--pretty", "one")
            assert "a=b" in shown
            assert ("hidden" in shown) == (kind == "config")
            again = await docker(kind, "create", "one", "-", stdin=b"x", code=1)
            assert f"{kind} one already exists" in again
        await docker(
            "service", "create", "-d", "--no-resolve-image", "--name", "web",
            "--secret", "source=one,target=/run/key,mode=0400", "--config", "one", "busybox",
        )  # fmt: skip
        for kind in ("secret", "config"):
            refused = await docker(kind, "rm", "one", code=1)
            assert f"{kind} 'one' is in use by the following service: web" in refused
        await docker("service", "rm", "web")
        for kind in ("secret", "config"):
            await docker(kind, "rm", "one")


async def test_the_swarm(tmp_path: Path) -> None:
    """join-token, update, ca, unlock-key, leave, join, init."""
    async with cli_of(tmp_path) as docker:
        token = await docker("swarm", "join-token", "-q", "worker")
        assert token.startswith("SWMTKN-1-")
        rotated = await docker("swarm", "join-token", "--rotate", "-q", "worker")
        assert rotated not in ("", token)
        said = await docker("swarm", "update", "--autolock=true", "--task-history-limit", "2")
        assert "SWMKEY-1-" in said
        assert "SWMKEY-1-" in await docker("swarm", "unlock-key")
        assert "BEGIN CERTIFICATE" in await docker("swarm", "ca")
        spec = docker.manager.store.snapshot().cluster.spec
        assert spec.orchestration.task_history_retention_limit == 2
        await docker("swarm", "leave", "--force")
        await docker("swarm", "join", "--token", token, "10.0.0.9")
        assert docker.manager.calls[0] is True


async def test_networks(tmp_path: Path) -> None:
    """create, ls, inspect, a service in it, rm."""
    async with cli_of(tmp_path) as docker:
        await docker("network", "create", "-d", "overlay", "--attachable", "--label", "a=b", "back")
        rows = {row[1]: row[2:] for row in columns(await docker("network", "ls"))}
        assert rows["back"] == ["overlay", "swarm"]
        assert rows["ingress"] == ["overlay", "swarm"]
        assert rows["host"] == ["host", "local"]
        await docker(
            "service", "create", "-d", "--no-resolve-image", "--name", "web", "--network", "back",
            "--network", "host", "busybox",
        )  # fmt: skip
        await docker.until("1/1", "service", "ls")
        peers = ("network", "inspect", "-f", "{{range .Peers}}{{.Name}} {{.IP}};{{end}}", "back")
        await docker.until(r"^[mw]10{10} 10\.0\.0\.1;$", *peers)
        shown = await docker("network", "inspect", "-v", "back")
        for text in ('"Scope": "swarm"', '"Attachable": true', '"web"', '"Host IP"'):
            assert text in shown
        assert "is in use by service" in await docker("network", "rm", "back", code=1)
        await docker("service", "rm", "web")
        with trio.fail_after(LIMIT_S):
            while docker.manager.store.snapshot().tasks:
                await trio.sleep(0.02)
        assert await docker("network", "rm", "back") == "back"
        await docker("network", "create", "-d", "overlay", "lonely")
        assert "lonely" in await docker("network", "prune", "-f")
        names = [row[1] for row in columns(await docker("network", "ls"))]
        assert (names.count("host"), names.count("ingress"), names.count("lonely")) == (1, 1, 0)


async def test_logs(tmp_path: Path) -> None:
    """Each line with its task and node in front of it."""
    async with cli_of(tmp_path) as docker:
        await docker("service", "create", "-d", "--no-resolve-image", "--name", "web", "busybox")
        await docker.until("1/1", "service", "ls")
        (task,) = docker.manager.store.snapshot().tasks.values()
        docker.manager.logs.messages = [
            LogMessage(
                task_id=task.id, node_id=task.node_id, service_id=task.service_id,
                timestamp_ns=1, stream="stdout", data=b"hello\n",
            )
        ]  # fmt: skip
        name = "m1" if task.node_id == id_of("m1") else "w1"
        assert await docker("service", "logs", "--no-trunc", "web") == (
            f"web.1.{task.id}@{name}    | hello"
        )
        assert await docker("service", "logs", "--raw", task.id) == "hello"


STACK: Final = """
services:
  web:
    image: busybox
    ports: ["8081:80"]
    networks: [front]
    secrets: [key]
    deploy:
      replicas: 2
networks:
  front:
secrets:
  key:
    file: ./key
"""


async def test_a_stack(tmp_path: Path) -> None:
    """stack deploy, ls, services, ps, rm; deployed again, nothing changes."""
    (tmp_path / "key").write_text("hidden")
    (tmp_path / "stack.yml").write_text(STACK)
    deploy = (
        "stack", "deploy", "--resolve-image", "never", "--detach=true",
        "-c", str(tmp_path / "stack.yml"), "app",
    )  # fmt: skip
    async with cli_of(tmp_path) as docker:
        await docker(*deploy)
        await docker.until("app_web .* 2/2", "stack", "services", "app")
        assert columns(await docker("stack", "ls")) == [["app", "1"]]
        assert len(columns(await docker("stack", "ps", "app"))) == 2
        await docker(*deploy)
        await docker.until("app_web .* 2/2", "stack", "services", "app")
        assert len(columns(await docker("stack", "ps", "app"))) == 2
        said = await docker("stack", "rm", "app")
        for what in ("service app_web", "secret app_key", "network app_front"):
            assert f"Removing {what}" in said
        assert columns(await docker("stack", "ls")) == []


async def test_digests_are_asked_of_the_engine(tmp_path: Path) -> None:
    """A client of before 1.30 leaves it to the manager."""
    async with cli_of(tmp_path) as docker:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_API_VERSION", "1.29")
            await docker("service", "create", "-d", "--name", "web", "busybox")
    assert docker.manager.registry.asked[0][0] == "busybox:latest"
