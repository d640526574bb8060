"""Lines about bytes: to terminals, into logs and out of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import IO, Final

from .bench import IMAGE, Bench
from .engines import Engine
from .measuring import throughput
from .results import OURS, Result

QUIET_LINES: Final = 60
BEGINNING_S: Final = 1.0  # in which so many processes start at once, on any engine


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

    return throughput(bench, "stdin", "docker run -i cat", pass_through)


def log_in(bench: Bench) -> Result:
    """Lines of 100 bytes to the terminal and into the log."""

    def print_all(engine: Engine) -> float:
        took_s = engine.timed("run", "--rm", *_UNBOUND[engine.name], *_printing(bench))
        return bench.scale.stream_bytes / 1e6 / took_s

    return throughput(bench, "log-in", "docker run printing lines", print_all, {"dockerd": 0.5})


def log_out(bench: Bench) -> Result:
    """`docker logs` of the same lines."""
    for engine in bench.engines.values():
        engine.docker("run", "-d", "--name", "chatty", *_UNBOUND[engine.name], *_printing(bench))
        engine.docker("wait", "chatty")

    def read_all(engine: Engine) -> float:
        return bench.scale.stream_bytes / 1e6 / engine.timed("logs", "chatty")

    try:
        return throughput(bench, "log-out", "docker logs", read_all, {"dockerd": 0.5})
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
    with _chatty_crowd(engine, talkative) as begin_to_talk:
        spans: list[float] = []
        with (
            engine.process(
                "run", "-i", "--name", "quiet", "--network", "none", IMAGE, "cat"
            ) as cat,
            _followed(engine, cat) as followed,
        ):
            begin_to_talk()
            time.sleep(BEGINNING_S)
            assert cat.stdin is not None
            for n in range(QUIET_LINES):
                time.sleep(0.05)
                began = time.perf_counter()
                cat.stdin.write(b"%d\n" % n)
                cat.stdin.flush()
                assert followed.readline() == b"%d\n" % n
                spans.append(time.perf_counter() - began)
            cat.kill()
    return sorted(spans)[len(spans) * 95 // 100] * 1000


@contextmanager
def _chatty_crowd(engine: Engine, count: int) -> Iterator[Callable[[], None]]:
    """So many containers that print all they can once the block says so.

    They are started while all is quiet, and killed before they are removed: each start and each
    removal beside a crowd that talks takes seconds, with fifty of them a quarter of an hour.
    """
    gate = engine.folder / "gate"
    gate.mkdir()
    script = "until test -e /gate/open; do sleep 0.1; done; exec yes"
    bounded = ("--log-opt", "max-size=10m", "--log-opt", "max-file=2")
    try:
        for n in range(count):
            engine.docker(
                *("run", "-d", "--name", f"chatty{n}", "--network", "none", *bounded),
                *("-v", f"{gate}:/gate:ro", IMAGE, "sh", "-c", script),
            )
        yield (gate / "open").touch
    finally:
        engine.kill_processes("chatty")
        engine.remove_containers()
        shutil.rmtree(gate)


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
