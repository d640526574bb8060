"""Asks the shims themselves how their tasks ended, while a containerd starts.

What exited while no containerd ran, its shim keeps; but containerd from 1.7 on takes a shim without
a process for one that was left behind, and ends it unheard at its start. So whoever starts
containerd asks every shim first, on a connection of its own that stays open until containerd has
answered: what exits in between is heard too. Answers lie in the sockets' buffers until then.

Everything here blocks, though not for long, and imports no trio.

Source: containerd, core/runtime/v2/shim_load.go (loadShim), api/runtime/task/v2 and v3.
"""

from __future__ import annotations

import json
import math
import resource
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from ._ttrpc import bytes_field, fields, request_frame, response_payload
from .values import TaskExit

SHIM_LIMIT_S: Final = 0.5  # to take a connection; a healthy shim does so at once
ASK_LIMIT_S: Final = 2.0  # for all of them: containerd is not started before
ANSWER_MAX_BYTES: Final = 4096  # an exit is 50

TaskKey: TypeAlias = tuple[str, str]  # namespace and container


class ShimWaits:
    """A wait for the task of every shim that containerd left in its folder `state`."""

    def __init__(self, state: Path) -> None:
        self._waits: dict[TaskKey, socket.socket] = {}
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Half of them is for the rest of the start.
        most = math.inf if soft == resource.RLIM_INFINITY else soft // 2
        give_up_at = time.monotonic() + ASK_LIMIT_S
        for bundle in sorted(state.glob("io.containerd.runtime.v2.task/*/*")):
            if time.monotonic() > give_up_at or len(self._waits) >= most:
                break
            # One that is dead or stuck is containerd's business, which buries it.
            with suppress(OSError, ValueError):
                self._waits[bundle.parent.name, bundle.name] = _ask(bundle)

    def collect(self) -> dict[TaskKey, TaskExit]:
        """The tasks that have exited by now; the connections are closed."""
        exits: dict[TaskKey, TaskExit] = {}
        for key, connection in self._waits.items():
            with suppress(OSError, ValueError):  # BlockingIOError: it runs on
                connection.setblocking(False)
                payload = response_payload(connection.recv(ANSWER_MAX_BYTES))
                if payload is not None:
                    exits[key] = _to_exit(payload)
        self.close()
        return exits

    def close(self) -> None:
        """Ask no longer."""
        for connection in self._waits.values():
            connection.close()
        self._waits.clear()


def _ask(bundle: Path) -> socket.socket:
    address, version = _address(bundle)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(SHIM_LIMIT_S)
        connection.connect(address)
        task = bytes_field(1, bundle.name.encode())
        connection.sendall(request_frame(f"containerd.task.v{version}.Task", "Wait", task))
    except BaseException:
        connection.close()
        raise
    return connection


def _address(bundle: Path) -> tuple[str, int]:
    """Where a shim listens, and the version of its API: in one file from 1.7 on, or in the older.

    Raises OSError and ValueError: it is not known, or speaks something else.
    """
    version, protocol = 2, "ttrpc"
    try:
        told = json.loads((bundle / "bootstrap.json").read_bytes())
    except FileNotFoundError:
        address = (bundle / "address").read_text().strip()
    else:
        address, version, protocol = (told.get(key) for key in ("address", "version", "protocol"))
    if protocol != "ttrpc" or not isinstance(version, int) or not str(address).startswith("unix:"):
        raise ValueError(f"shim at {address} speaks {protocol} {version}")
    return str(address).removeprefix("unix://"), version


def _to_exit(payload: bytes) -> TaskExit:
    """A WaitResponse: the status, and a time of seconds and nanoseconds."""
    found = dict(fields(payload))
    code, at = found.get(1, 0), found.get(2, b"")
    if not isinstance(code, int) or not isinstance(at, bytes):
        raise ValueError("not an exit")  # noqa: TRY004 (of what came in)
    parts = dict(fields(at))
    return TaskExit(
        code=code, exited_at_ns=int(parts.get(1, 0)) * 1_000_000_000 + int(parts.get(2, 0))
    )
