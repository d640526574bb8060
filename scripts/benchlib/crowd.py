"""Many containers started at once, and a client that asks for other things meanwhile."""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from .engines import Engine
from .http import request

BODY: Final = {
    "Image": "busybox",
    "Cmd": ["sleep", "100000"],
    "HostConfig": {"NetworkMode": "none"},
}
PAUSE_S: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What came of it."""

    took_s: float  # until the last one ran
    p99_ms: float  # of the other client's requests


def start_at_once(engine: Engine, count: int) -> Crowd:
    """Make `count` containers, start all at once, remove them again."""
    with engine.connect() as connection:
        ids = [connection.call("POST", "/containers/create", BODY)["Id"] for _ in range(count)]
    done, waits_s = threading.Event(), list[float]()
    with ThreadPoolExecutor(1) as watcher:
        watching = watcher.submit(_watch, engine, done, waits_s)
        began = time.perf_counter()
        try:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(lambda one: _call(engine, "POST", f"/containers/{one}/start"), ids))
            took_s = time.perf_counter() - began
        finally:
            done.set()
        watching.result()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: _call(engine, "DELETE", f"/containers/{one}?force=1"), ids))
    return Crowd(took_s=took_s, p99_ms=statistics.quantiles(waits_s, n=100)[98] * 1000)


def _call(engine: Engine, method: str, target: str) -> None:
    with engine.connect() as connection:
        connection.call(method, target)


def _watch(engine: Engine, done: threading.Event, waits_s: list[float]) -> None:
    with engine.connect() as connection:
        while not done.is_set() or len(waits_s) < 2:
            for target in ("/_ping", "/containers/json?all=1"):
                began = time.perf_counter()
                connection.exchange(request("GET", target))
                waits_s.append(time.perf_counter() - began)
            time.sleep(PAUSE_S)
