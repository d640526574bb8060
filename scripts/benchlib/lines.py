"""The comparisons, in the order in which they are made: later ones leave containers behind."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import IO, Final

from . import dns, image_lines, traffic
from .bench import IMAGE, Bench
from .crowd import start_at_once
from .engines import Engine, EngineFailed
from .fleet import Start, fleet, start_over
from .http import request
from .results import OURS, Result

Line = Callable[[Bench], Result]
NETWORK: Final = "own"
NO_AIM: Final[Mapping[str, float]] = {}
SETTLE_S: Final = 5.0
QUIET_LINES: Final = 60


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
    return _requests(bench, "ping", "GET /_ping", "/_ping", NO_AIM)


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


def network_cost(bench: Bench) -> Result:
    """What a network of one's own adds to a run without any: namespace, link, address, rules."""

    def added_ms(engine: Engine) -> float:
        without = engine.timed("run", "--rm", "--network", "none", IMAGE, "true")
        return (engine.timed("run", "--rm", "--network", NETWORK, IMAGE, "true") - without) * 1000

    with _network(bench):
        return bench.compare(
            "network-cost",
            "a network's part of docker run",
            "ms",
            added_ms,
            aims={OURS: 20.0, "dockerd": 0.5},
        )


def network_connect(bench: Bench) -> Result:
    """One more link for a container that runs, by the API alone."""

    def connect_ms(engine: Engine) -> float:
        body = {"Container": "bridged"}
        with engine.connect() as connection:
            began = time.perf_counter()
            connection.exchange(request("POST", f"/networks/{NETWORK}/connect", body))
            took_s = time.perf_counter() - began
        engine.docker("network", "disconnect", NETWORK, "bridged")
        return took_s * 1000

    with _network(bench), ExitStack() as running:
        for engine in bench.engines.values():
            engine.docker("run", "-d", "--name", "bridged", IMAGE, "sleep", "100000")
            running.callback(engine.docker, "rm", "-f", "bridged")
        return bench.compare(
            "connect", "docker network connect", "ms", connect_ms, aims={"dockerd": 0.7}
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


def published(bench: Bench) -> Result:
    """Bytes to a container by a published port; `veth` is a pair of links with nothing between."""
    size = bench.scale.stream_bytes * 20
    with ExitStack() as stack:
        ways = {
            engine.name: stack.enter_context(traffic.published_port(engine))
            for engine in bench.engines.values()
        }
        bare = stack.enter_context(traffic.bare_pair())
        return bench.compare(
            "published",
            f"a published port, {size // 10**6} MB",
            "MB/s",
            lambda engine: size / 1e6 / ways[engine.name].timed(size),
            more_is_better=True,
            aims={"dockerd": 1.0, "veth": 1.1},
            also={"veth": lambda: size / 1e6 / bare.timed(size)},
        )


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


def stdin(bench: Bench) -> Result:
    """Bytes in and out again; nothing is logged."""
    source = bench.folder / "zeros"
    with source.open("wb") as file:
        os.truncate(file.fileno(), bench.scale.stream_bytes)

    def pass_through(engine: Engine) -> float:
        took_s = engine.timed(
            *("run", "--rm", "-i", "--network", "none", "--log-driver", "none", IMAGE, "cat"),
            stdin=source,
        )
        return bench.scale.stream_bytes / 1e6 / took_s

    return _throughput(bench, "stdin", "docker run -i cat", pass_through)


def log_in(bench: Bench) -> Result:
    """Lines of 100 bytes to the terminal and into the log."""

    def print_all(engine: Engine) -> float:
        took_s = engine.timed("run", "--rm", *_UNBOUND[engine.name], *_printing(bench))
        return bench.scale.stream_bytes / 1e6 / took_s

    return _throughput(bench, "log-in", "docker run printing lines", print_all, {"dockerd": 0.5})


def log_out(bench: Bench) -> Result:
    """`docker logs` of the same lines."""
    for engine in bench.engines.values():
        engine.docker("run", "-d", "--name", "chatty", *_UNBOUND[engine.name], *_printing(bench))
        engine.docker("wait", "chatty")

    def read_all(engine: Engine) -> float:
        return bench.scale.stream_bytes / 1e6 / engine.timed("logs", "chatty")

    try:
        return _throughput(bench, "log-out", "docker logs", read_all, {"dockerd": 0.5})
    finally:
        for engine in bench.engines.values():
            engine.docker("rm", "-f", "chatty")


def quiet_line(bench: Bench) -> Result:
    """A line's way from `docker run -i cat` to `docker logs -f` while many print all they can.

    It goes in by the terminal, so that its way is a little longer than from the process.
    """
    talkative = bench.scale.few // 2
    title = f"a quiet line beside {talkative} that print all they can"
    return bench.compare(
        "quiet-line",
        title,
        "ms",
        lambda engine: _quiet_line_ms(engine, talkative),
        rounds=1,
        aims={OURS: 50.0, "dockerd": 1.0},
    )


def _quiet_line_ms(engine: Engine, talkative: int) -> float:
    bounded = ("--log-opt", "max-size=10m", "--log-opt", "max-file=2")
    for n in range(talkative):
        engine.docker(
            *("run", "-d", "--name", f"chatty{n}", "--network", "none", *bounded, IMAGE, "yes")
        )
    spans: list[float] = []
    try:
        with (
            engine.process(
                "run", "-i", "--name", "quiet", "--network", "none", IMAGE, "cat"
            ) as cat,
            _followed(engine, cat) as followed,
        ):
            assert cat.stdin is not None
            for n in range(QUIET_LINES):
                time.sleep(0.05)
                began = time.perf_counter()
                cat.stdin.write(b"%d\n" % n)
                cat.stdin.flush()
                assert followed.readline() == b"%d\n" % n
                spans.append(time.perf_counter() - began)
            cat.kill()
    finally:
        engine.remove_containers()
    return sorted(spans)[len(spans) * 95 // 100] * 1000


@contextmanager
def _followed(engine: Engine, cat: subprocess.Popen[bytes]) -> Iterator[IO[bytes]]:
    """What `docker logs -f quiet` prints, from its second line on."""
    assert cat.stdin is not None
    assert cat.stdout is not None
    cat.stdin.write(b"up\n")
    cat.stdin.flush()
    cat.stdout.readline()
    with engine.process("logs", "-f", "quiet") as logs:
        assert logs.stdout is not None
        try:
            logs.stdout.readline()
            yield logs.stdout
        finally:
            logs.kill()


def ps_few(bench: Bench) -> Result:
    """The CLI's own time is in it; see the next line for the engine's."""
    return _ps(bench, "ps-100", bench.scale.few)


def list_few(bench: Bench) -> Result:
    """The same list for a client that stays connected."""
    _have(bench, bench.scale.few)
    title = f"GET /containers/json of {bench.scale.few}"
    return _requests(bench, "list-100", title, "/containers/json?all=1", {"dockerd": 0.7})


def list_many(bench: Bench) -> Result:
    """With many: 50 a second are 20 ms each."""
    _have(bench, bench.scale.many)
    title = f"GET /containers/json of {bench.scale.many}"
    return _requests(bench, "list-1000", title, "/containers/json?all=1", {"dockerd": 0.7})


def memory_running(bench: Bench) -> Result:
    """The daemon with containers that do nothing."""
    _have(bench, bench.scale.few)
    for engine in bench.engines.values():
        bench.start_all(engine)
    time.sleep(SETTLE_S)
    title = f"memory, {bench.scale.few} containers (Pss)"
    return bench.compare("memory-100", title, "MB", Engine.memory_mb, rounds=1)


def ps_many(bench: Bench) -> Result:
    """As before, with more of them."""
    return _ps(bench, "ps-1000", bench.scale.many)


def names(bench: Bench) -> Result:
    """Names of containers, as others on their network ask for them."""
    with ExitStack() as running:
        pids = {
            name: running.enter_context(dns.named_container(engine, IMAGE))
            for name, engine in bench.engines.items()
        }
        return bench.compare(
            "dns",
            f"DNS answers, {dns.CLIENTS} ask",
            "/s",
            lambda engine: dns.answers_per_s(pids[engine.name], dns.NAME, bench.scale.requests_s),
            rounds=bench.scale.heavy_rounds,
            more_is_better=True,
            aims=NO_AIM,
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


# dockerd's log has no bound unless it is given one; ours has, and must not answer with less.
_UNBOUND: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "wharfinger": ("--network", "none", "--log-opt", "max-size=-1"),
        "dockerd": ("--network", "none"),
    }
)


def _printing(bench: Bench) -> list[str]:
    """Image and command that print lines of 100 bytes."""
    script = f"yes {'x' * 99} | head -c {bench.scale.stream_bytes}"
    return [IMAGE, "sh", "-c", script]


@contextmanager
def _network(bench: Bench) -> Iterator[None]:
    """Each engine has a network of the user's own within the block."""
    with ExitStack() as made:
        for engine in bench.engines.values():
            engine.docker("network", "create", NETWORK)
            made.callback(engine.docker, "network", "rm", NETWORK)
        yield


def _have(bench: Bench, count: int) -> None:
    for engine in bench.engines.values():
        bench.ensure_created(engine, count)


def _ps(bench: Bench, name: str, count: int) -> Result:
    _have(bench, count)
    return bench.compare(
        name,
        f"docker ps -a with {count}",
        "s",
        lambda engine: engine.timed("ps", "-a"),
        aims={"dockerd": 0.7},
    )


def _throughput(
    bench: Bench,
    name: str,
    title: str,
    measure: Callable[[Engine], float],
    aims: Mapping[str, float] | None = None,
) -> Result:
    return bench.compare(
        name,
        f"{title}, {bench.scale.stream_bytes // 10**6} MB",
        "MB/s",
        measure,
        rounds=bench.scale.heavy_rounds,
        more_is_better=True,
        aims=aims,
    )


def _requests(
    bench: Bench, name: str, title: str, target: str, aims: Mapping[str, float]
) -> Result:
    message = request("GET", target)

    def many(engine: Engine) -> float:
        with engine.connect() as connection:
            count, took_s, began = 0, 0.0, time.perf_counter()
            while took_s < bench.scale.requests_s:
                connection.exchange(message)
                count, took_s = count + 1, time.perf_counter() - began
            return count / took_s

    return bench.compare(
        name,
        title,
        "/s",
        many,
        rounds=bench.scale.heavy_rounds,
        more_is_better=True,
        aims=aims,
    )
