"""The real daemon with a back door for tests: `python -m tests.support.crashing SOCKET [flags]`.

One JSON object a line on the socket, one a line back. `{"do": "tree"}` answers with every child as
`[path, state, restarts]`; `{"do": "crash", "path": p}` throws an exception into the child's own
task, wherever that waits, and answers once that incarnation has ended.

With FAULT_ROOTS in the environment (paths, with colons between) its steps are counted, see
`faults`; at FAULT_POINT, if that is set, it dies. `{"do": "arm", "point": p}` begins to count anew,
with another point or with none (""); `{"do": "steps"}` answers with the labels since then and with
how long ago the last one was. `{"do": "census"}` tells what there is of containers, of whatever
kind, in the daemon's memory and in containerd.

HOST_RESOLV_CONF in the environment is the file that is taken for the host's.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import trio
from trio import socket as trio_socket

from services.containerd import SnapshotKind
from services.containers.networking import resolv_conf
from supervisor import daemon
from supervisor.__main__ import main
from supervisor.otp import Supervisor
from supervisor.otp.child import Child
from supervisor.parts import Parts
from tests.support import faults
from tests.support.faults import FaultPoint, Faults

LIMIT_S = 50.0
AGAIN_S = 3.0


class Injected(Exception):
    """The fault. Nothing in the product knows it."""


class Door:
    """Serves the control socket while the daemon runs."""

    def __init__(self, path: str, counted: Faults | None) -> None:
        self._path = path
        self._faults = counted
        self.root: Supervisor | None = None
        self.parts: Parts | None = None

    async def run(self) -> None:
        """Serve until cancelled."""
        with trio_socket.socket(trio_socket.AF_UNIX) as listening:
            await listening.bind(self._path)
            listening.listen()
            listener = trio.SocketListener(listening)
            await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            received = b""
            while piece := await stream.receive_some():
                received += piece
                if received.endswith(b"\n"):
                    answer = await self._answer(json.loads(received))
                    received = b""
                    await stream.send_all(json.dumps(answer).encode() + b"\n")

    async def _answer(self, request: dict[str, Any]) -> object:
        assert self.root is not None
        match request["do"]:
            case "arm":
                assert self._faults is not None
                point = request["point"]
                self._faults.begin(FaultPoint.parse(point) if point else None)
                return {}
            case "steps":
                assert self._faults is not None
                return [self._faults.steps, time.monotonic() - self._faults.last_at]
            case "census":
                assert self.parts is not None
                return await _census(self.parts)
        if request["do"] == "tree":
            return [
                [node.path, node.state.value, node.restarts] for node in self.root.tree().walk()
            ]
        try:
            with trio.fail_after(LIMIT_S):
                await _crash(_find(self.root, request["path"]))
        except (LookupError, trio.TooSlowError) as error:
            return {"error": repr(error)}
        return {}


async def _census(parts: Parts) -> dict[str, Any]:
    containerd, networks = parts.ground.containerd, parts.ground.net.networks
    listed = await containerd.snapshots.list()
    active = [s for s in listed if s.kind in (SnapshotKind.ACTIVE, SnapshotKind.VIEW)]
    return {
        "records": [record.id for record in await containerd.containers.list()],
        "tasks": {t.id: [t.status.name, t.pid] for t in await containerd.tasks.list()},
        "leases": [lease.id for lease in await containerd.leases.list()],
        "snapshots": [snapshot.name for snapshot in active],
        "addresses": sum(len(one.handed_out) for one in networks._links._addresses.values()),
        "runs": sorted(parts.restorer._runs._runs),
        "streams": sorted(parts.containers.terminals._streams),
    }


def _children(root: Supervisor) -> Iterator[Child]:
    for child in tuple(root._children.values()):
        yield child
        if child.nested is not None:
            yield from _children(cast("Supervisor", child.nested))


def _find(root: Supervisor, path: str) -> Child:
    found = [child for child in _children(root) if child.path == path]
    if not found:
        raise LookupError(path)
    return found[0]


async def _crash(child: Child) -> None:
    task = child.task
    while task is not None and child.task is task:
        if task._abort_func is not None:
            task._attempt_abort(_raise)  # a cancellation's way in, with an exception of ours
            # It may be at work in a thread, and have missed that.
            with trio.move_on_after(AGAIN_S):
                while child.task is task:
                    await trio.sleep(0.002)
        await trio.sleep(0.002)


def _raise() -> NoReturn:
    raise Injected("thrown by a test")


def install(door: Door) -> None:
    """Let the daemon that is started next have the door."""
    build, run = daemon.root_tree, daemon.Daemon.run

    def root_tree(*args: Any, **kwargs: Any) -> Supervisor:
        door.root = build(*args, **kwargs)
        door.parts = args[0]
        return door.root

    async def run_beside_door(self: daemon.Daemon) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.run)
            status = await run(self)
            nursery.cancel_scope.cancel()
        return status

    daemon.root_tree = root_tree
    daemon.Daemon.run = run_beside_door  # type: ignore[method-assign]


def take_for_hosts(path: str) -> None:
    """Let the daemon read another file than the host's resolv.conf."""
    resolv_conf.HOST_FILE = Path(path)  # type: ignore[misc]


def counted_faults() -> Faults | None:
    """What the environment asks for, installed."""
    roots = os.environ.get("FAULT_ROOTS")
    if not roots:
        return None
    point = os.environ.get("FAULT_POINT")
    counted = Faults(FaultPoint.parse(point) if point else None, roots.split(":"))
    faults.install(counted)
    return counted


if __name__ == "__main__":
    if host_file := os.environ.get("HOST_RESOLV_CONF"):
        take_for_hosts(host_file)
    install(Door(sys.argv.pop(1), counted_faults()))
    main()
