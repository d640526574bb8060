"""Lines about lists of many containers, and what the daemon takes with them."""

from __future__ import annotations

import time
from typing import Final

from .bench import Bench
from .engines import Engine
from .measuring import NO_AIM, have, requests
from .results import OURS, Result

SETTLE_S: Final = 5.0


def memory_idle(bench: Bench) -> Result:
    """What the daemon itself holds after a start and a few calls."""
    for engine in bench.engines.values():
        engine.stop()
        engine.start_timed()
        engine.docker("version")
        engine.docker("ps", "-a")
    time.sleep(SETTLE_S)
    return bench.compare(
        "memory-idle", "memory, idle (Pss)", "MB", Engine.memory_mb, rounds=1, aims={OURS: 90.0}
    )


def ping(bench: Bench) -> Result:
    """Requests a second on one connection, one after another."""
    return requests(bench, "ping", "GET /_ping", "/_ping", NO_AIM)


def ps_few(bench: Bench) -> Result:
    """The CLI's own time is in it; see the next line for the engine's."""
    return _ps(bench, "ps-100", bench.scale.few)


def list_few(bench: Bench) -> Result:
    """The same list for a client that stays connected."""
    have(bench, bench.scale.few)
    title = f"GET /containers/json of {bench.scale.few}"
    return requests(bench, "list-100", title, "/containers/json?all=1", {"dockerd": 0.7})


def list_many(bench: Bench) -> Result:
    """With many: 50 a second are 20 ms each."""
    have(bench, bench.scale.many)
    title = f"GET /containers/json of {bench.scale.many}"
    return requests(bench, "list-1000", title, "/containers/json?all=1", {"dockerd": 0.7})


def memory_running(bench: Bench) -> Result:
    """The daemon with containers that do nothing."""
    have(bench, bench.scale.few)
    for engine in bench.engines.values():
        bench.start_all(engine)
    time.sleep(SETTLE_S)
    title = f"memory, {bench.scale.few} containers (Pss)"
    return bench.compare("memory-100", title, "MB", Engine.memory_mb, rounds=1)


def ps_many(bench: Bench) -> Result:
    """As before, with more of them."""
    return _ps(bench, "ps-1000", bench.scale.many)


def _ps(bench: Bench, name: str, count: int) -> Result:
    have(bench, count)
    return bench.compare(
        name,
        f"docker ps -a with {count}",
        "s",
        lambda engine: engine.timed("ps", "-a"),
        aims={"dockerd": 0.7},
    )
