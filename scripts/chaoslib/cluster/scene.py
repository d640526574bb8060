"""The swarm that is tormented: a lab's engines, and what can be asked of each, and done to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lablib.engines import Engine, Lab

CALL_LIMIT_S: Final = 30.0
LOOK_S: Final = 0.1


class NotThere(OSError):
    """The engine takes no connection: nothing was asked of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API has said."""

    status: int
    fields: Mapping[str, str]
    text: str

    @property
    def is_good(self) -> bool:
        """Whether it did what was asked."""
        return self.status < 400

    @property
    def body(self) -> Any:
        """Its JSON; None for nothing."""
        return json.loads(self.text) if self.text.strip() else None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, limit_s: float) -> None:
        super().__init__("d", timeout=limit_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError as error:
            raise NotThere(str(error)) from error


def ask(
    engine: Engine, method: str, target: str, body: object = None, *, limit_s: float = CALL_LIMIT_S
) -> Answer:
    """One call of the API.

    Raises:
        NotThere: it was not asked.
        OSError, http.client.HTTPException: nobody knows whether it was done.
    """
    connection = _UnixConnection(engine.socket, limit_s)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, target, data, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        text = reply.read().decode(errors="replace")
        return Answer(reply.status, {k.title(): v for k, v in reply.getheaders()}, text)
    finally:
        connection.close()


class ClusterScene:
    """The swarm. `managers` are the first engines, the workers come after."""

    def __init__(self, lab: Lab, managers: int) -> None:
        self.lab: Final = lab
        self.engines: Final = lab.engines
        self.managers: Final = lab.engines[:managers]
        self.workers: Final = lab.engines[managers:]
        self.node_ids: Mapping[str, str] = {}  # by host
        self.steady: Mapping[str, Mapping[str, str]] = {}  # by host: container, its start

    def engine_of(self, node_id: str) -> Engine:
        """The engine whose node it is."""
        return next(e for e in self.engines if self.node_ids[e.host.name] == node_id)

    def look(self, engine: Engine, target: str) -> Any:
        """The body of a GET that is answered well; None for any other answer, or none."""
        with suppress(OSError, http.client.HTTPException):
            answer = ask(engine, "GET", target)
            if answer.is_good:
                return answer.body
        return None

    def leader_id(self, *, asked: Sequence[Engine]) -> str:
        """The leading node, as the first of `asked` says that knows one; "" for none."""
        for engine in asked:
            for node in self.look(engine, "/nodes") or ():
                if (node.get("ManagerStatus") or {}).get("Leader"):
                    return str(node["ID"])
        return ""

    def store_leader(self) -> Engine | None:
        """The manager whose etcd leads the others; it need not be the swarm's leader."""
        for engine in self.managers:
            folder = self._etcd_folder(engine)
            status = engine.host.run(
                "sh", "-c",
                f"cd {folder} && ETCDCTL_API=3 etcdctl --endpoints unix://etcd.sock:0 "
                "--command-timeout 2s -w json endpoint status 2>/dev/null || true",
            )  # fmt: skip
            with suppress(ValueError, LookupError):
                one = json.loads(status)[0]["Status"]
                if one["header"]["member_id"] == one["leader"]:
                    return engine
        return None

    def etcd_pid(self, engine: Engine) -> int:
        """The engine's etcd; 0 for none."""
        daemon = engine.process.pid if engine.process is not None else -1
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if parent == daemon and words[0].endswith(b"etcd"):
                    return int(entry.name)
        return 0

    def kill_etcd(self, engine: Engine) -> None:
        """kill -9."""
        pid = self.etcd_pid(engine)
        if pid:
            os.kill(pid, signal.SIGKILL)

    def is_whole(self, asked: Sequence[Engine]) -> bool:
        """Whether each of `asked` says that every node is heard of, and who leads."""
        for engine in asked:
            nodes = self.look(engine, "/nodes")
            if nodes is None or len(nodes) != len(self.engines):
                return False
            if any(node["Status"]["State"] != "ready" for node in nodes):
                return False
            managers = [node["ManagerStatus"] for node in nodes if node.get("ManagerStatus")]
            if len(managers) != len(self.managers):
                return False
            if any(manager["Reachability"] != "reachable" for manager in managers):
                return False
            if sum(bool(manager.get("Leader")) for manager in managers) != 1:
                return False
        return True

    def containers(self, engine: Engine) -> dict[str, str]:
        """Running containers of tasks on one engine: the container's id by its task's."""
        found = self.look(engine, '/containers/json?filters={"label":["com.docker.swarm.task.id"]}')
        if found is None:
            raise NotThere(f"{engine.host.name} does not say what runs")
        return {one["Id"]: one["Labels"]["com.docker.swarm.task.id"] for one in found}

    def begun_at(self, engine: Engine, container_id: str) -> str:
        """When a container was started; "" if it does not run."""
        state = (self.look(engine, f"/containers/{container_id}/json") or {}).get("State", {})
        return str(state["StartedAt"]) if state.get("Running") else ""

    @staticmethod
    def _etcd_folder(engine: Engine) -> Path:
        return engine.folder / "data" / "swarm" / "etcd"


def wait(condition: Callable[[], object], limit_s: float) -> bool:
    """Whether it holds in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_S)
    return True


@contextmanager
def cluster_scene(managers: int, workers: int) -> Iterator[ClusterScene]:
    """A swarm, gone with all that it made when the block ends."""
    lab = Lab(managers + workers)
    try:
        lab.start()
        lab.load_image()
        lab.make_swarm(managers)
        scene = ClusterScene(lab, managers)
        scene.node_ids = {
            engine.host.name: engine.docker("info", "--format", "{{.Swarm.NodeID}}")
            for engine in lab.engines
        }
        if not wait(lambda: scene.is_whole(scene.managers), 60):
            raise RuntimeError("the swarm does not come together")
        yield scene
    finally:
        lab.close()
