"""The operations that a daemon is killed in, each with its scene, its call and its second try."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.engine.many import EXIT_7, wait_gone, wait_trap
from tests.support.crashable import FaultableDaemon
from tests.support.daemon import wait_until
from tests.support.http import Answer

SLEEP = "sleep 1000"


@dataclass(slots=True)
class Scene:
    """One container, and one fault in what is done with it."""

    daemon: FaultableDaemon
    name: str
    script: str = SLEEP
    config: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    pid: int = 0  # as it was before the fault
    since: float = field(default_factory=time.time)
    id: str = ""  # once it is known

    @property
    def ref(self) -> str:
        """What requests call it: it may have another name by now."""
        return self.id or self.name

    def ask(self, method: str, path: str, wanted: Collection[int], body: object = None) -> Answer:
        """One request that must be answered as is `wanted`. `*` in the path is the container."""
        answer = self.daemon.http(method, path.replace("*", f"containers/{self.ref}"), body)
        assert answer.status in wanted, (method, path, answer)
        return answer

    def create(self, wanted: Collection[int] = (201,)) -> None:
        """Make it."""
        body = {
            "Image": "busybox",
            "Cmd": ["sh", "-c", self.script],
            **self.config,
            "HostConfig": {"NetworkMode": "none", **self.host},
        }
        answer = self.ask("POST", f"/containers/create?name={self.name}", wanted, body)
        if answer.status == 201:
            self.id = answer.json()["Id"]

    def start(self, wanted: Collection[int] = (204,)) -> None:
        """Start it."""
        self.ask("POST", "/*/start", wanted)

    def run(self) -> None:
        """Make it, start it, and note its process."""
        self.create()
        self.start()
        self.pid = self.state()["Pid"]
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until its shell hears signals, if it runs and is to."""
        pid = self.state().get("Pid", 0)
        if pid and "trap" in self.script:
            wait_trap(pid, signal.SIGTERM)

    def inspect(self) -> dict[str, Any]:
        """As the API shows it."""
        found: dict[str, Any] = self.ask("GET", "/*/json", (200,)).json()
        return found

    def state(self) -> dict[str, Any]:
        """Its State; nothing when it is gone."""
        answer = self.daemon.http("GET", f"/containers/{self.ref}/json")
        return answer.json()["State"] if answer.status == 200 else {}

    @property
    def status(self) -> str:
        """The word for its state; "" when it is gone."""
        return str(self.state().get("Status", ""))

    def wait_status(self, *wanted: str) -> None:
        """Wait until its state is one of these."""
        wait_until(lambda: self.status in wanted, f"it is {wanted}")

    def must_be(self, status: str, code: int | None = None) -> None:
        """Fail unless its state is this one, and its exit code."""
        state = self.state()
        assert state.get("Status", "") == status, state
        assert code is None or state["ExitCode"] == code, state


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is done with a scene's container.

    Attributes:
        prepare: before the fault.
        act: what the daemon dies in. Its connection may break.
        again: with the next daemon: the call once more, which must succeed, and what it brings.
        code: how the container must have ended whenever it has ended, None where that depends.
    """

    name: str
    script: str = SLEEP
    config: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[Scene], None]
    act: Callable[[Scene], None]
    again: Callable[[Scene], None]
    code: int | None = None

    def scene(self, daemon: FaultableDaemon, name: str) -> Scene:
        """A new one."""
        return Scene(daemon, name, self.script, self.config, self.host)


def nothing(_scene: Scene) -> None:
    """No preparation."""


# ── create, start ────────────────────────────────────────────────────────────────────────────────


def create_again(scene: Scene) -> None:
    """One that was made is whole; one that was not can be made. With --rm none is left."""
    existed = scene.status
    assert existed in ("", "created")
    assert not (existed and scene.host.get("AutoRemove")), "it was to be removed"
    scene.create((409,) if existed else (201,))
    start_again(scene)


def start_again(scene: Scene) -> None:
    """It runs, by the first try or by the second, and can be worked with."""
    if scene.status == "" and scene.host.get("AutoRemove"):
        return
    scene.start((204, 304))
    scene.must_be("running")
    _run_exec(scene)


def quick_again(scene: Scene) -> None:
    """It ran to its end, by the first try or by the second."""
    scene.start((204, 304))
    scene.wait_status("exited")
    scene.must_be("exited", 3)


# ── its end ──────────────────────────────────────────────────────────────────────────────────────


def stop(scene: Scene) -> None:
    """docker stop."""
    scene.wait_ready()
    scene.ask("POST", "/*/stop?t=20", (204, 304))


def stop_again(scene: Scene) -> None:
    """It has ended by its own exit, and stays ended."""
    stop(scene)
    scene.must_be("exited", 7)


def kill(scene: Scene) -> None:
    """docker kill."""
    scene.ask("POST", "/*/kill", (204, 409))


def kill_again(scene: Scene) -> None:
    """It has ended by the signal."""
    kill(scene)
    scene.must_be("exited", 137)


def end_itself(scene: Scene) -> None:
    """Its process ends without a word to the daemon."""
    with suppress(ProcessLookupError):
        os.kill(scene.pid, signal.SIGTERM)
    wait_gone(scene.pid)  # what follows is to be seen from then on


def ended(scene: Scene) -> None:
    """It has ended, and can be started again."""
    scene.wait_status("exited")
    scene.must_be("exited", 7)
    scene.start()
    scene.must_be("running")


def is_back(scene: Scene) -> None:
    """Its policy has started it again, and it can be stopped for good."""
    scene.wait_status("running")
    assert scene.state()["Pid"] != scene.pid
    stop_again(scene)


def is_gone(scene: Scene) -> None:
    """It was removed, by --rm."""
    scene.wait_status("")


def remove(scene: Scene) -> None:
    """docker rm."""
    scene.ask("DELETE", "/*?v=1", (204, 404))


def remove_by_force(scene: Scene) -> None:
    """docker rm -f."""
    scene.ask("DELETE", "/*?v=1&force=1", (204, 404))


def remove_again(scene: Scene) -> None:
    """It is gone, and its name is free."""
    remove(scene)
    assert scene.status == ""


def remove_by_force_again(scene: Scene) -> None:
    """It is gone, whatever it did."""
    remove_by_force(scene)
    assert scene.status == ""


def run_to_end(scene: Scene) -> None:
    """Make it, start it, let it end."""
    scene.create()
    scene.start()
    scene.wait_status("exited")


# ── while it runs ────────────────────────────────────────────────────────────────────────────────


def restart(scene: Scene) -> None:
    """docker restart."""
    scene.wait_ready()
    scene.ask("POST", "/*/restart?t=20", (204,))


def restart_again(scene: Scene) -> None:
    """It runs in another process than before."""
    restart(scene)
    scene.must_be("running")
    assert scene.state()["Pid"] != scene.pid


def still_runs(scene: Scene) -> None:
    """The same process runs as before the fault."""
    scene.must_be("running")
    assert scene.state()["Pid"] == scene.pid


def _make_exec(scene: Scene, *command: str) -> str:
    body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
    return str(scene.ask("POST", "/*/exec", (201,), body).json()["Id"])


def _run_exec(scene: Scene, *command: str, code: int = 5) -> None:
    exec_id = _make_exec(scene, *(command or ("sh", "-c", "exit 5")))
    scene.ask("POST", f"/exec/{exec_id}/start", (200,), {"Detach": False, "Tty": False})

    def ended_with() -> int | None:
        found: int | None = scene.ask("GET", f"/exec/{exec_id}/json", (200,)).json()["ExitCode"]
        return found

    wait_until(lambda: ended_with() is not None, "the exec has ended")
    assert ended_with() == code


def make_exec(scene: Scene) -> None:
    """docker exec, its first half."""
    _make_exec(scene, "true")


def run_exec(scene: Scene) -> None:
    """docker exec, of something short."""
    _run_exec(scene)


def exec_again(scene: Scene) -> None:
    """Its container goes on, and another exec works."""
    still_runs(scene)
    _run_exec(scene)


def update(scene: Scene) -> None:
    """docker update."""
    body = {"PidsLimit": 77, "RestartPolicy": {"Name": "on-failure"}}
    scene.ask("POST", "/*/update", (200,), body)


def update_again(scene: Scene) -> None:
    """The record and the kernel have the same limits."""
    still_runs(scene)
    limit = scene.inspect()["HostConfig"]["PidsLimit"]
    assert limit in (None, 0, 77)
    assert kernel_pids_limit(scene.pid) == ("77" if limit == 77 else "max")
    update(scene)
    assert scene.inspect()["HostConfig"]["PidsLimit"] == 77
    assert kernel_pids_limit(scene.pid) == "77"


def kernel_pids_limit(pid: int) -> str:
    """What the kernel lets a process's container have of processes."""
    with open(f"/proc/{pid}/cgroup") as file:
        lines = [line.strip().split(":", 2) for line in file]
    places = {controller: path for _, names, path in lines for controller in names.split(",")}
    folder = (
        f"/sys/fs/cgroup/pids{places['pids']}"
        if "pids" in places
        else (f"/sys/fs/cgroup{places['']}")
    )
    with open(f"{folder}/pids.max") as file:
        return file.read().strip()


def rename(scene: Scene, *wanted: int) -> None:
    """docker rename."""
    scene.ask("POST", f"/*/rename?name={scene.name}b", wanted or (204,))


def rename_again(scene: Scene) -> None:
    """It has exactly one of the names; in the end the new one."""
    names = [c["Names"] for c in scene.daemon.http("GET", "/containers/json?all=1").json()]
    assert names in ([[f"/{scene.name}"]], [[f"/{scene.name}b"]])
    if names == [[f"/{scene.name}"]]:
        rename(scene)
    assert scene.inspect()["Name"] == f"/{scene.name}b"
    still_runs(scene)


def pause(scene: Scene) -> None:
    """docker pause."""
    scene.ask("POST", "/*/pause", (204, 409))


def pause_again(scene: Scene) -> None:
    """It is paused, and goes on."""
    pause(scene)
    scene.must_be("paused")
    unpause_again(scene)


def unpause(scene: Scene) -> None:
    """docker unpause."""
    scene.ask("POST", "/*/unpause", (204, 409))


def unpause_again(scene: Scene) -> None:
    """It goes on."""
    unpause(scene)
    exec_again(scene)


def run_paused(scene: Scene) -> None:
    """Make it, start it, pause it."""
    scene.run()
    pause(scene)


# ── networks ─────────────────────────────────────────────────────────────────────────────────────


def network_of(scene: Scene) -> str:
    """The name of the scene's network."""
    return f"{scene.name}-net"


def make_network(scene: Scene, *wanted: int) -> None:
    """docker network create."""
    body = {"Name": network_of(scene), "Labels": {"a": "b"}}
    scene.ask("POST", "/networks/create", wanted or (201,), body)


def make_network_again(scene: Scene) -> None:
    """It is there and whole, by the first try or by the second; a container can be in it."""
    make_network(scene, 201, 409)
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": network_of(scene)}}
    answer = scene.ask("POST", "/containers/create", (201,), body).json()
    scene.ask("POST", f"/containers/{answer['Id']}/start", (204,))
    scene.ask("DELETE", f"/containers/{answer['Id']}?force=1", (204,))
    remove_network(scene)


def remove_network(scene: Scene) -> None:
    """docker network rm."""
    scene.ask("DELETE", f"/networks/{network_of(scene)}", (204, 404))


def run_with_network(scene: Scene) -> None:
    """A container that runs on the default bridge, and a network beside."""
    make_network(scene)
    scene.run()


def run_connected(scene: Scene) -> None:
    """A container that runs in both."""
    run_with_network(scene)
    connect(scene)


def connect(scene: Scene, *wanted: int) -> None:
    """docker network connect."""
    body = {"Container": scene.ref, "EndpointConfig": {"GwPriority": 1}}
    scene.ask("POST", f"/networks/{network_of(scene)}/connect", wanted or (200,), body)


def disconnect(scene: Scene, *wanted: int) -> None:
    """docker network disconnect."""
    body = {"Container": scene.ref}
    scene.ask("POST", f"/networks/{network_of(scene)}/disconnect", wanted or (200,), body)


def connected_again(scene: Scene) -> None:
    """In the network or not, and that is so; then in it and out of it once more."""
    still_runs(scene)
    is_in = network_of(scene) in scene.inspect()["NetworkSettings"]["Networks"]
    connect(scene, 403 if is_in else 200)
    disconnect(scene)
    connect(scene)
    still_runs(scene)
    networks = scene.inspect()["NetworkSettings"]["Networks"]
    assert {"bridge", network_of(scene)} == set(networks)
    port = scene.host.get("PortBindings")
    if port:
        assert scene.inspect()["NetworkSettings"]["Ports"]["80/tcp"]


BRIDGE = {"NetworkMode": "bridge"}
HEALTH = {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**12, "StartInterval": 10**12}}
IMAGE = {"Mounts": [{"Type": "image", "Source": "busybox", "Target": "/image"}]}
AGAIN = {"RestartPolicy": {"Name": "unless-stopped"}}

OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation(name="create", prepare=nothing, act=Scene.create, again=create_again),
        Operation(
            name="create-bridge-rm-tty-health",
            host={**BRIDGE, **IMAGE, "AutoRemove": True},
            config={"Tty": True, "OpenStdin": True, **HEALTH},
            prepare=nothing,
            act=Scene.create,
            again=create_again,
        ),
        Operation(name="start", prepare=Scene.create, act=Scene.start, again=start_again),
        Operation(
            name="start-bridge-tty-health",
            host={**BRIDGE, **IMAGE, "IpcMode": "shareable"},
            config={"Tty": True, "OpenStdin": True, **HEALTH},
            prepare=Scene.create,
            act=Scene.start,
            again=start_again,
        ),
        Operation(
            name="start-published",
            host={**BRIDGE, "PortBindings": {"80/tcp": [{}], "53/udp": [{}]}},
            prepare=Scene.create,
            act=Scene.start,
            again=start_again,
        ),
        Operation(
            name="start-rm",
            host={"AutoRemove": True},
            prepare=Scene.create,
            act=Scene.start,
            again=start_again,
        ),
        Operation(
            name="start-quick",
            script="exit 3",
            host=BRIDGE,
            prepare=Scene.create,
            act=Scene.start,
            again=quick_again,
            code=3,
        ),
        Operation(
            name="stop", script=EXIT_7, prepare=Scene.run, act=stop, again=stop_again, code=7
        ),
        Operation(
            name="stop-bridge-unless-stopped",
            script=EXIT_7,
            host={**BRIDGE, **AGAIN},
            prepare=Scene.run,
            act=stop,
            again=stop_again,
        ),
        Operation(name="kill", prepare=Scene.run, act=kill, again=kill_again, code=137),
        Operation(
            name="restart", script=EXIT_7, prepare=Scene.run, act=restart, again=restart_again
        ),
        Operation(
            name="remove", script="exit 3", prepare=run_to_end, act=remove, again=remove_again
        ),
        Operation(
            name="remove-by-force",
            host={**BRIDGE, **IMAGE},
            prepare=Scene.run,
            act=remove_by_force,
            again=remove_by_force_again,
        ),
        Operation(
            name="network-create",
            prepare=nothing,
            act=make_network,
            again=make_network_again,
        ),
        Operation(
            name="network-remove", prepare=make_network, act=remove_network, again=remove_network
        ),
        Operation(
            name="connect",
            host={**BRIDGE, "PortBindings": {"80/tcp": [{}]}},
            prepare=run_with_network,
            act=connect,
            again=connected_again,
        ),
        Operation(
            name="disconnect",
            host={**BRIDGE, "PortBindings": {"80/tcp": [{}]}},
            prepare=run_connected,
            act=disconnect,
            again=connected_again,
        ),
        Operation(name="exec-create", prepare=Scene.run, act=make_exec, again=exec_again),
        Operation(name="exec-start", prepare=Scene.run, act=run_exec, again=exec_again),
        Operation(name="update", prepare=Scene.run, act=update, again=update_again),
        Operation(name="rename", prepare=Scene.run, act=rename, again=rename_again),
        Operation(name="pause", prepare=Scene.run, act=pause, again=pause_again),
        Operation(name="unpause", prepare=run_paused, act=unpause, again=unpause_again),
        Operation(
            name="end",
            script=EXIT_7,
            host=BRIDGE,
            prepare=Scene.run,
            act=end_itself,
            again=ended,
            code=7,
        ),
        Operation(
            name="end-rm",
            script=EXIT_7,
            host={"AutoRemove": True},
            prepare=Scene.run,
            act=end_itself,
            again=is_gone,
        ),
        Operation(
            name="end-unless-stopped",
            script=EXIT_7,
            host={**BRIDGE, **AGAIN},
            prepare=Scene.run,
            act=end_itself,
            again=is_back,
        ),
    )
}
