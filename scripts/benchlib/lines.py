"""The comparisons, in the order in which they are made: later ones leave containers behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from . import image_lines
from .bench import IMAGE, Bench
from .crowd import start_at_once
from .engines import Engine, EngineFailed
from .fleet import Start, fleet, start_over
from .http import request
from .list_lines import list_few, list_many, memory_idle, memory_running, ping, ps_few, ps_many
from .measuring import Line
from .network_lines import names, network_connect, network_cost, published
from .results import OURS, Result
from .stream_lines import log_in, log_out, quiet_line, stdin


def start(bench: Bench) -> Result:
    """From the start of the process to the first answered ping; containerd serves already."""

    def restart(engine: Engine) -> float:
        engine.stop()
        return engine.start_timed()

    return bench.compare(
        "start",
        "start to first ping",
        "s",
        restart,
        rounds=max(bench.scale.rounds // 2, 1),
        aims={OURS: 0.6, "dockerd": 0.7},
    )


def start_fleet(bench: Bench) -> Result:
    """The same until a list is answered, over containers that have ended and some that run."""
    return _start_over(bench, "start-fleet", "list", lambda start: start.answers_s, 1.0)


def restore_fleet(bench: Bench) -> Result:
    """The same until every container was compared with containerd."""
    return _start_over(bench, "restore-fleet", "all restored", lambda start: start.restored_s, 5.0)


def _start_over(
    bench: Bench, name: str, what: str, figure: Callable[[Start], float], aim: float
) -> Result:
    """Ours alone: dockerd's state cannot be written for it, and takes minutes to make."""
    scale = bench.scale
    title = f"start to {what}, {scale.stopped} stopped, {scale.few} running"
    engine = bench.engines[OURS]
    with fleet(engine, running=scale.few, stopped=scale.stopped):
        figures = [figure(start_over(engine)) for _ in range(max(scale.rounds // 3, 1))]
    engine.stop()
    engine.start_timed()
    return Result(
        name=name, title=title, unit="s", figures={OURS: tuple(figures)}, aims={OURS: aim}
    )


def run_none(bench: Bench) -> Result:
    """A whole container without a network; `ctr run` is what containerd alone takes."""
    return bench.compare(
        "run-none",
        "docker run --rm --network none",
        "s",
        lambda engine: engine.timed("run", "--rm", "--network", "none", IMAGE, "true"),
        aims={"ctr": 1.4, "dockerd": 0.7},
        also={"ctr": lambda: bench.containerd.run_timed("true")},
    )


def run_bridge(bench: Bench) -> Result:
    """A whole container on the default bridge."""
    return bench.compare(
        "run-bridge",
        "docker run --rm",
        "s",
        lambda engine: engine.timed("run", "--rm", IMAGE, "true"),
        aims={"dockerd": 0.7},
    )


def exec_(bench: Bench) -> Result:
    """One more process in a running container."""
    with bench.sleeping():
        return bench.compare(
            "exec", "docker exec", "s", lambda engine: engine.timed("exec", "sleeper", "true")
        )


def exec_api(bench: Bench) -> Result:
    """The same by the API alone: make, start, read to the end, ask for the code."""

    def run_one(engine: Engine) -> float:
        began = time.perf_counter()
        with engine.connect() as connection:
            wanted = {"AttachStdout": True, "Cmd": ["true"]}
            made = connection.call("POST", "/containers/sleeper/exec", wanted)["Id"]
            connection.raw(request("POST", f"/exec/{made}/start", {"Detach": False}))
        with engine.connect() as connection:
            code = connection.call("GET", f"/exec/{made}/json")["ExitCode"]
        if code != 0:
            raise EngineFailed(f"{engine.name}: the exec's exit code is {code}")
        return time.perf_counter() - began

    with bench.sleeping():
        return bench.compare("exec-api", "exec through the API", "s", run_one)


def start_many(bench: Bench) -> Result:
    """How long all take, asked for at once; each engine on its own."""
    return bench.compare(
        "start-many",
        f"start of {bench.scale.starts} at once",
        "s",
        lambda engine: start_at_once(engine, bench.scale.starts).took_s,
        rounds=1,
    )


def busy_api(bench: Bench) -> Result:
    """What a client that asks for list and ping waits meanwhile, 99 times of 100."""
    return bench.compare(
        "busy-p99",
        f"API p99 while {bench.scale.starts} start",
        "ms",
        lambda engine: start_at_once(engine, bench.scale.starts).p99_ms,
        rounds=1,
        aims={OURS: 100.0},
    )


LINES: Final[Mapping[str, Line]] = MappingProxyType(
    {
        "start": start,
        "start-fleet": start_fleet,
        "restore-fleet": restore_fleet,
        "memory-idle": memory_idle,
        "ping": ping,
        "run-none": run_none,
        "run-bridge": run_bridge,
        "network-cost": network_cost,
        "connect": network_connect,
        "exec": exec_,
        "exec-api": exec_api,
        "dns": names,
        "published": published,
        "stdin": stdin,
        "log-in": log_in,
        "log-out": log_out,
        "quiet-line": quiet_line,
        **image_lines.LINES,
        "ps-100": ps_few,
        "list-100": list_few,
        "memory-100": memory_running,
        "start-many": start_many,
        "busy-p99": busy_api,
        "ps-1000": ps_many,
        "list-1000": list_many,
    }
)
