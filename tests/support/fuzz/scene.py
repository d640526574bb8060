"""What requests are about: a few containers, networks and volumes, and a swarm's things."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from services.networks.model import GATEWAY_BRIDGE
from tests.support.daemon import Daemon, wait_until
from tests.support.fuzz.members import COMMAND
from tests.support.ports import free_port

DATA: Final = base64.b64encode(b"text").decode()
CONTAINER: Final = {"Image": "busybox", "Cmd": COMMAND, "HostConfig": {"NetworkMode": "none"}}
SERVICE: Final = {
    "Name": "s0",
    "TaskTemplate": {"ContainerSpec": {"Image": "busybox", "Command": COMMAND}},
    "Mode": {"Replicated": {"Replicas": 1}},
}
_KEPT_NETWORKS: Final = frozenset({"bridge", "host", "none", "ingress", GATEWAY_BRIDGE})

State = dict[str, frozenset[str]]
"""What there is of each kind, by ids and names."""


class Scene:
    """Keeps a daemon furnished; `names` are for a `Generator`, and follow what there is."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.has_swarm = False
        self.names: dict[str, list[str]] = {
            "containers": ["c0", "c1", "c2"],
            "images": ["busybox", "made", "made:1", "made:t"],
            "networks": ["n0", "n1", "bridge", "none"],
            "volumes": ["v0", "v1"],
            "exec": [],
            "services": ["s0", "s1"],
            "secrets": ["s0", "s1"],
            "configs": ["s0", "s1"],
            "tasks": [],
            "nodes": [],
            "plugins": ["x"],
            "distribution": ["127.0.0.1:1/x"],
        }

    def _ask(self, request: str, body: object = None) -> Any:
        """The decoded answer to "METHOD /path"; None for a refusal."""
        method, _, path = request.partition(" ")
        answer = self.daemon.http(method, path, body)
        assert answer.status < 500, (request, answer)
        return answer.json() if answer.status < 300 and answer.body else None

    def furnish(self) -> None:
        """Have again what may have been removed, c0 running, and two execs that did not start."""
        if "busybox:latest" not in self.daemon.image_names():
            self.daemon.load_image()
        for name in ("c0", "c1"):
            if self._ask(f"GET /containers/{name}/json") is None:
                self._ask(f"POST /containers/create?name={name}", CONTAINER)
        found = self._ask("GET /containers/c0/json")
        if found is not None and found["State"]["Paused"]:
            self._ask("POST /containers/c0/unpause")
        if found is not None and not found["State"]["Running"]:
            self.daemon.http("POST", "/containers/c0/start")  # it may be one that cannot
        if self._ask("GET /networks/n0") is None:
            self._ask("POST /networks/create", {"Name": "n0", "Internal": True})
        if self._ask("GET /volumes/v0") is None:
            self._ask("POST /volumes/create", {"Name": "v0"})
        execs = [
            self._ask("POST /containers/c0/exec", {"Cmd": ["cat"], "AttachStdin": True, "Tty": tty})
            for tty in (True, False)
        ]
        self.names["exec"] = [made["Id"] for made in execs if made]
        if self.has_swarm:
            self._furnish_swarm()

    def _furnish_swarm(self) -> None:
        for kind in ("secrets", "configs"):
            if self._ask(f"GET /{kind}/s0") is None:
                self._ask(f"POST /{kind}/create", {"Name": "s0", "Data": DATA})
        if self._ask("GET /services/s0") is None:
            self._ask("POST /services/create", SERVICE)
        (node,) = self._ask("GET /nodes")
        if node["Spec"]["Availability"] != "active":
            path = f"POST /nodes/{node['ID']}/update?version={node['Version']['Index']}"
            self._ask(path, {"Role": "manager", "Availability": "active"})
        self.names["nodes"] = [node["ID"]]
        self.names["tasks"] = [task["ID"] for task in self._ask("GET /tasks")][:8]

    def version_of(self, path: str) -> int | None:
        """The version of an object of the swarm, which its update has to name."""
        found = self._ask(f"GET {path}")
        return None if found is None else int(found["Version"]["Index"])

    def state(self) -> State:
        """What there is. In a swarm containers come and go by themselves, and are not told."""
        images = self._ask("GET /images/json")
        volumes = self._ask("GET /volumes")["Volumes"] or ()
        found = {
            "volumes": {volume["Name"] for volume in volumes},
            "networks": {network["Id"] for network in self._ask("GET /networks")},
            "images": {f"{one['Id']} {sorted(one['RepoTags'] or ())}" for one in images},
        }
        if self.has_swarm:
            for kind in ("services", "secrets", "configs"):
                found[kind] = {one["ID"] for one in self._ask(f"GET /{kind}")}
        else:
            found["containers"] = set(self.daemon.container_ids())
        return {kind: frozenset(names) for kind, names in found.items()}

    def clear(self) -> None:
        """Take away all that requests have made."""
        self.daemon.remove_containers()
        for network in self._ask("GET /networks"):
            if network["Name"] not in _KEPT_NETWORKS:
                self._ask(f"DELETE /networks/{network['Id']}")
        for volume in self._ask("GET /volumes")["Volumes"] or ():
            self._ask(f"DELETE /volumes/{volume['Name']}?force=1")
        for image in self._ask("GET /images/json"):
            if "busybox:latest" not in (image["RepoTags"] or ()):
                self._ask(f"DELETE /images/{image['Id']}?force=1")

    @contextmanager
    def swarm(self) -> Iterator[None]:
        """The daemon is a swarm by itself within the block."""
        self.daemon.own_gateway()
        body = {
            "ListenAddr": f"127.0.0.1:{free_port()}",
            "DataPathPort": free_port(socket.SOCK_DGRAM),
            "AdvertiseAddr": "127.0.0.1",
        }
        assert self._ask("POST /swarm/init", body) is not None
        self.has_swarm = True
        try:
            yield
        finally:
            self.has_swarm = False
            self._leave()

    def _leave(self) -> None:
        for service in self._ask("GET /services"):
            self._ask(f"DELETE /services/{service['ID']}")
        wait_until(lambda: not self._tasks_containers(), "the tasks end", limit_s=120)
        self.clear()
        assert self.daemon.http("POST", "/swarm/leave?force=1").status == 200
        self._ask(f"DELETE /networks/{GATEWAY_BRIDGE}")

    def _tasks_containers(self) -> Any:
        label = "filters=%7B%22label%22:%5B%22com.docker.swarm.task.id%22%5D%7D"
        return self._ask(f"GET /containers/json?all=1&{label}")
