"""What lines of the comparison have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from .bench import Bench
from .engines import Engine
from .http import request
from .results import Result

Line = Callable[[Bench], Result]

NO_AIM: Final[Mapping[str, float]] = {}


def have(bench: Bench, count: int) -> None:
    for engine in bench.engines.values():
        bench.ensure_created(engine, count)


def throughput(
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


def requests(bench: Bench, name: str, title: str, target: str, aims: Mapping[str, float]) -> Result:
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
