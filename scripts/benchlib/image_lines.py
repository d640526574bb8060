"""The comparisons of what is done with images: load, save, pull, build, and pings meanwhile."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from . import registry
from .archives import LAYERS
from .bench import IMAGE, Bench
from .engines import Engine, EngineFailed
from .http import Connection, request
from .results import OURS, Result

PING_EVERY_S: Final = 0.005
PING_AIM_MS: Final = 20.0
STEPS: Final = 20


def load(bench: Bench) -> Result:
    """An image that nobody has, from an archive."""

    def load_one(engine: Engine) -> float:
        with _fresh(bench, engine.name) as (archive, name):
            took_s = engine.timed("load", "-q", "-i", str(archive))
            engine.docker("rmi", f"{name}:1")
        return took_s

    def import_one() -> float:
        with _fresh(bench, "ctr") as (archive, name):
            return bench.containerd.import_timed(archive, f"{name}:1")

    return bench.compare(
        "load",
        f"docker load of {_image(bench)}",
        "s",
        load_one,
        rounds=bench.scale.heavy_rounds,
        aims={"dockerd": 1.0},
        also={"ctr": import_one},
    )


def save(bench: Bench) -> Result:
    """The same image as an archive, into a file."""
    archive = bench.fresh_archive("saved")
    for engine in bench.engines.values():
        engine.docker("load", "-q", "-i", str(archive))
    try:
        return bench.compare(
            "save",
            f"docker save of {_image(bench)}",
            "s",
            lambda engine: engine.timed("save", "-o", str(archive), "saved:1"),
            rounds=bench.scale.heavy_rounds,
            aims={"dockerd": 1.0},
        )
    finally:
        for engine in bench.engines.values():
            engine.docker("rmi", "saved:1")
        archive.unlink()


def pull(bench: Bench) -> Result:
    """An image of eight layers that nobody has, from a registry on loopback."""

    def pull_one(engine: Engine) -> float:
        took_s = engine.timed("pull", "-q", registry.REFERENCE)
        engine.docker("rmi", registry.REFERENCE)
        return took_s

    with _registries(bench):
        return bench.compare(
            "pull",
            f"docker pull of {_image(bench)}",
            "s",
            pull_one,
            rounds=bench.scale.heavy_rounds,
        )


def build_cached(bench: Bench) -> Result:
    """A build of which every step was made before."""
    context = _context(bench.folder / "context")
    build = ("build", "-q", "--network", "none", "-t", "cached:1", str(context))
    for engine in bench.engines.values():
        engine.docker(*build)
    try:
        return bench.compare(
            "build-cached",
            f"docker build of {STEPS} steps, all cached",
            "s",
            lambda engine: engine.timed(*build),
        )
    finally:
        for engine in bench.engines.values():
            engine.docker("rmi", "cached:1")


def ping_loading(bench: Bench) -> Result:
    """Pings while an image is loaded."""

    def slowest(engine: Engine) -> float:
        with _fresh(bench, engine.name) as (archive, name):
            took_ms = _p99_during(engine, "load", "-q", "-i", str(archive))
            engine.docker("rmi", f"{name}:1")
        return took_ms

    return _compare_pings(bench, "load", slowest)


def ping_pulling(bench: Bench) -> Result:
    """Pings while an image is pulled."""

    def slowest(engine: Engine) -> float:
        took_ms = _p99_during(engine, "pull", "-q", registry.REFERENCE)
        engine.docker("rmi", registry.REFERENCE)
        return took_ms

    with _registries(bench):
        return _compare_pings(bench, "pull", slowest)


def ping_building(bench: Bench) -> Result:
    """Pings while a large context is sent and becomes a layer."""
    context = bench.folder / "heavy"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY data /data\nRUN md5sum /data\n")
    archive = bench.fresh_archive("heavy")
    archive.rename(context / "data")
    number = itertools.count()

    def slowest(engine: Engine) -> float:
        tag = f"heavy:{next(number)}"
        took_ms = _p99_during(
            engine, "build", "-q", "--no-cache", "--network", "none", "-t", tag, str(context)
        )
        engine.docker("rmi", tag)
        return took_ms

    return _compare_pings(bench, "build", slowest)


def _compare_pings(bench: Bench, during: str, slowest: Callable[[Engine], float]) -> Result:
    return bench.compare(
        f"ping-during-{during}",
        f"GET /_ping during a {during}, p99",
        "ms",
        slowest,
        rounds=bench.scale.heavy_rounds,
        aims={OURS: PING_AIM_MS},
    )


def _p99_during(engine: Engine, *command: str) -> float:
    """How many ms a ping takes, 99 of 100 times, while a call of the CLI goes on."""
    at_work = threading.Thread(target=engine.docker, args=command)
    took_s: list[float] = []
    with Connection(engine.socket) as connection:
        at_work.start()
        while at_work.is_alive():
            began = time.perf_counter()
            connection.exchange(request("GET", "/_ping"))
            took_s.append(time.perf_counter() - began)
            time.sleep(PING_EVERY_S)
    at_work.join()
    return sorted(took_s)[len(took_s) * 99 // 100] * 1000


@contextmanager
def _fresh(bench: Bench, who: str) -> Iterator[tuple[Path, str]]:
    """An archive for `who`, and the name of its image."""
    name = f"fresh-{who}-{time.monotonic_ns()}"
    archive = bench.fresh_archive(name)
    try:
        yield archive, name
    finally:
        archive.unlink()


@contextmanager
def _registries(bench: Bench) -> Iterator[None]:
    if not registry.is_installed():
        raise EngineFailed("needs docker-registry")
    with registry.registries(bench):
        yield


def _context(folder: Path) -> Path:
    """A context with a Dockerfile of STEPS steps: files, commands and settings in turn."""
    folder.mkdir()
    lines = [f"FROM {IMAGE}"]
    for number in range(1, STEPS):
        match number % 4:
            case 0:
                (folder / f"file{number}").write_bytes(bytes(100_000))
                lines.append(f"COPY file{number} /files/")
            case 1:
                lines.append(f"RUN echo {number} > /made-{number}")
            case 2:
                lines.append(f"ENV NUMBER_{number}={number}")
            case _:
                lines.append(f"LABEL number-{number}={number}")
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    return folder


def _image(bench: Bench) -> str:
    return f"{bench.scale.image_bytes // 10**6} MB in {LAYERS} layers"


LINES: Final[Mapping[str, Callable[[Bench], Result]]] = MappingProxyType(
    {
        "load": load,
        "save": save,
        "pull": pull,
        "build-cached": build_cached,
        "ping-during-load": ping_loading,
        "ping-during-pull": ping_pulling,
        "ping-during-build": ping_building,
    }
)
