"""One container's life, by plain requests: create, start, exec, logs, stop, remove."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from benchlib.http import Connection, HttpError, request

IMAGE: Final = "busybox"
SCRIPT: Final = "trap 'exit 3' TERM; echo begun; while :; do sleep 0.1; done"
LINE_LIMIT_S: Final = 60.0


class LifeFailed(Exception):
    """A step of a life did not do what it must."""


def live(socket: Path, number: int, made: Callable[[str], object]) -> None:
    """Everything once; `made` is told the id.

    Each second container is on the bridge; each tenth is killed instead of stopped.

    Raises:
        LifeFailed: an answer is not the right one.
        HttpError, OSError: there was none.
    """
    name = f"soak-{number}"
    with Connection(socket, limit_s=300.0) as engine:
        made(engine.call("POST", f"/containers/create?name={name}", _body(number))["Id"])
        try:
            engine.call("POST", f"/containers/{name}/start")
            _expect(_exec(socket, name, f"echo {number}"), f"{number}\n".encode(), "exec")
            _await_line(engine, name)
            if number % 10:
                engine.call("POST", f"/containers/{name}/stop?t=30")
                code = engine.call("GET", f"/containers/{name}/json")["State"]["ExitCode"]
                _expect(code, 3, "exit code")
        finally:
            engine.call("DELETE", f"/containers/{name}?force=1&v=1")


def live_many(
    socket: Path,
    count: int,
    at_once: int,
    made: Callable[[str], object],
    told: Callable[[int], None],
) -> list[str]:
    """Lives 0 to `count`, `at_once` side by side; what went wrong, in words."""
    complaints: list[str] = []

    def one(number: int) -> None:
        try:
            live(socket, number, made)
        except (LifeFailed, HttpError, OSError) as error:
            complaints.append(f"container {number}: {error!r}")
        told(number)

    pool = ThreadPoolExecutor(at_once)
    try:
        list(pool.map(one, range(count)))
    finally:
        pool.shutdown(cancel_futures=True)  # interrupted, it does not go on to the last one
    return complaints


def _body(number: int) -> dict[str, object]:
    return {
        "Image": IMAGE,
        "Cmd": ["sh", "-c", SCRIPT],
        "HostConfig": {"NetworkMode": "bridge" if number % 2 else "none"},
    }


def _expect(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise LifeFailed(f"{what}: {found!r} where {wanted!r} should be")


def _exec(socket: Path, name: str, script: str) -> bytes:
    """Standard output of a shell script run in the container."""
    wanted = {"AttachStdout": True, "Cmd": ["sh", "-c", script]}
    with Connection(socket, limit_s=300.0) as engine:
        made = engine.call("POST", f"/containers/{name}/exec", wanted)
        started = request("POST", f"/exec/{made['Id']}/start", {"Detach": False, "Tty": False})
        output = _unframe(engine.raw(started))
        _expect(_exit_code(socket, made["Id"]), 0, "exec's exit code")
    return output


def _exit_code(socket: Path, exec_id: str) -> object:
    """The exit code of an exec."""
    with Connection(socket, limit_s=300.0) as engine:
        return engine.call("GET", f"/exec/{exec_id}/json")["ExitCode"]


def _await_line(engine: Connection, name: str) -> None:
    deadline = time.monotonic() + LINE_LIMIT_S
    logs = request("GET", f"/containers/{name}/logs?stdout=1")
    while _unframe(found := engine.exchange(logs)) != b"begun\n":
        if time.monotonic() > deadline:
            raise LifeFailed(f"logs: {json.dumps(found.decode(errors='replace'))}")
        time.sleep(0.05)


def _unframe(data: bytes) -> bytes:
    """The bytes of a multiplexed stream."""
    parts = []
    while data:
        size = int.from_bytes(data[4:8], "big")
        parts.append(data[8 : 8 + size])
        data = data[8 + size :]
    return b"".join(parts)
