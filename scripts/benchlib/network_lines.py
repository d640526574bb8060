"""Lines about networks: what one costs, what goes through ports, and names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from . import dns, traffic
from .bench import IMAGE, Bench
from .engines import Engine
from .http import request
from .measuring import NO_AIM
from .results import OURS, Result

NETWORK: Final = "own"


def network_cost(bench: Bench) -> Result:
    """What a network of one's own adds to a start without any: namespace, link, address, rules.

    The quickest of several of each: what is slower was kept from work by something else.
    """

    def start_ms(engine: Engine, network: str) -> float:
        body = {"Image": IMAGE, "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": network}}
        with engine.connect() as connection:
            made = connection.call("POST", "/containers/create", body)["Id"]
            began = time.perf_counter()
            connection.exchange(request("POST", f"/containers/{made}/start"))
            took_s = time.perf_counter() - began
            connection.exchange(request("DELETE", f"/containers/{made}?force=1"))
        return took_s * 1000

    def added_ms(engine: Engine) -> float:
        both = [(start_ms(engine, NETWORK), start_ms(engine, "none")) for _ in range(4)]
        return min(one for one, _ in both) - min(one for _, one in both)

    with _network(bench):
        return bench.compare(
            "network-cost",
            "a network's part of a start",
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


@contextmanager
def _network(bench: Bench) -> Iterator[None]:
    """Each engine has a network of the user's own within the block."""
    with ExitStack() as made:
        for engine in bench.engines.values():
            engine.docker("network", "create", NETWORK)
            made.callback(engine.docker, "network", "rm", NETWORK)
        yield
