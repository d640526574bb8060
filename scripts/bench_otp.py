#!/usr/bin/env python3
"""What supervision costs: DynamicSupervisor beside bare trio, and beside Erlang if installed.

Each round runs every contender once, in turn, each in a process of its own; the figures are medians
over the rounds, in microseconds per child. Exit status 1 if a ratio is over its aim.

Erlang takes part up to 10,000 children: its supervisor walks the list of all restarts in the window
at every restart, so that its time grows with the square of their number, where ours is linear. With
1,000 it is quicker than any trio task can be started, so there the ratio has no aim.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import trio

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the tree this script is in, installed or not

from supervisor.otp import ChildSpec, DynamicSupervisor, Intensity  # noqa: E402

PAGE_BYTES = 4096
ERLANG_MOST = 10_000
NO_AIM = float("inf")
Figures = dict[str, float]  # name -> microseconds per child, or bytes per child


@dataclass(frozen=True)
class Line:
    """One comparison."""

    name: str
    children: int
    ours: float
    theirs: float
    against: str
    unit: str
    aim: float  # the ratio may be at most this

    @property
    def ratio(self) -> float:
        """Ours to theirs."""
        return self.ours / self.theirs

    @property
    def is_met(self) -> bool:
        """Whether the aim is."""
        return self.ratio <= self.aim


class Crash(Exception):
    """What children are restarted after."""


class Watch:
    """Microseconds per child since the last look."""

    def __init__(self, children: int) -> None:
        self._children = children
        self._at = time.perf_counter()

    def lap(self) -> float:
        """The time since the last lap, or since the beginning."""
        before, self._at = self._at, time.perf_counter()
        return (self._at - before) / self._children * 1e6


async def idle(task_status: trio.TaskStatus[None]) -> None:
    """A child, for either."""
    task_status.started()
    await trio.sleep_forever()


async def run_trio(children: int) -> Figures:
    """A nursery: start each and wait until it is ready, then cancel them all."""
    async with trio.open_nursery() as nursery:
        watch = Watch(children)
        for _ in range(children):
            await nursery.start(idle)
        start = watch.lap()
        nursery.cancel_scope.cancel()
    return {"start": start, "stop": watch.lap()}


async def run_ours(children: int) -> Figures:
    """A DynamicSupervisor: the same, and one by one; crash all, and wait until all are back."""
    logging.disable()  # of the crashes; Erlang's logger is off, too
    intensity = Intensity(max_restarts=2 * children, window_s=3600.0)
    supervisor = DynamicSupervisor(name="bench", intensity=intensity)
    figures: Figures = {}
    gate, starts, all_back = trio.Event(), 0, trio.Event()

    async def crash(task_status: trio.TaskStatus[None]) -> None:
        nonlocal starts
        mine = gate
        task_status.started()
        starts += 1
        if starts == 2 * children:
            all_back.set()
        await mine.wait()
        raise Crash

    async def fill(start: Callable[..., Awaitable[object]]) -> float:
        watch = Watch(children)
        for number in range(children):
            await supervisor.start_child(ChildSpec(id=str(number), start=start))
        return watch.lap()

    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        gc.collect()
        before = resident_bytes()
        figures["start"] = await fill(idle)
        gc.collect()
        figures["bytes"] = (resident_bytes() - before) / children
        watch = Watch(children)
        supervisor.stop()
    figures["stop"] = watch.lap()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await fill(idle)
        watch.lap()
        for number in range(children):
            await supervisor.terminate_child(str(number))
        figures["stop_one"] = watch.lap()
        await fill(crash)
        before_crash, gate = gate, trio.Event()
        watch.lap()
        before_crash.set()
        await all_back.wait()
        figures["restart"] = watch.lap()
        supervisor.stop()
    return figures


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def in_own_process(contender: str, children: int) -> Figures:
    """Run one contender once."""
    command = (
        ["escript", str(HERE / "bench_otp.escript"), str(children)]
        if contender == "erlang"
        else [sys.executable, __file__, "--contender", contender, "--children", str(children)]
    )
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def measure(children: int, rounds: int) -> dict[str, Figures]:
    """Medians of every contender's figures."""
    contenders = ["trio", "ours"]
    if shutil.which("escript") and children <= ERLANG_MOST:
        contenders.append("erlang")
    runs: dict[str, list[Figures]] = {contender: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            runs[contender].append(in_own_process(contender, children))
    return {
        contender: {name: statistics.median(run[name] for run in of) for name in of[0]}
        for contender, of in runs.items()
    }


def lines(sizes: list[int], rounds: int) -> list[Line]:
    """Every comparison, for `scripts/bench` and for the table."""
    result: list[Line] = []
    starts: dict[int, float] = {}
    restarts: dict[int, float] = {}
    for children in sizes:
        figures = measure(children, rounds)
        ours, bare = figures["ours"], figures["trio"]
        starts[children], restarts[children] = ours["start"], ours["restart"]

        def add(name: str, mine: float, other: float, against: str, aim: float) -> None:
            unit = "B" if name == "memory" else "us"
            result.append(Line(name, children, mine, other, against, unit, aim))  # noqa: B023

        add("start", ours["start"], bare["start"], "trio nursery.start", 3.0)
        add("stop, all at once", ours["stop"], bare["stop"], "trio cancel", 3.0)
        add("stop, one by one", ours["stop_one"], bare["stop"], "trio cancel", 3.0)
        add("memory", ours["bytes"], 8192.0, "8 KB", 1.0)
        if "erlang" in figures:
            erlang = figures["erlang"]
            aim = 2.0 if children == ERLANG_MOST else NO_AIM
            add("restart", ours["restart"], erlang["restart"], "Erlang", aim)
            add("start", ours["start"], erlang["start"], "Erlang", NO_AIM)
            add("stop, one by one", ours["stop_one"], erlang["stop"], "Erlang", NO_AIM)
        first = sizes[0]
        if children != first:
            add("start, linear", ours["start"], starts[first], f"with {first}", NO_AIM)
            add("restart, linear", ours["restart"], restarts[first], f"with {first}", NO_AIM)
    return result


def as_json(line: Line) -> dict[str, object]:
    """A line's figures; JSON has no infinity, so no aim is null."""
    return asdict(line) | {"ratio": line.ratio, "aim": None if line.aim == NO_AIM else line.aim}


def table(all_lines: list[Line]) -> str:
    """For people."""
    rows = [f"{'':20}{'children':>9}{'ours':>10}{'theirs':>10}  {'ratio':>6}  {'aim':>5}"]
    for line in all_lines:
        aim = "" if line.aim == NO_AIM else f"{line.aim:.1f}"
        verdict = "" if line.is_met else "  MISSED"
        rows.append(
            f"{line.name:20}{line.children:>9}{line.ours:>8.1f} {line.unit:<2}"
            f"{line.theirs:>8.1f} {line.unit:<2}{line.ratio:>6.2f}  {aim:>5}  "
            f"{line.against}{verdict}"
        )
    return "\n".join(rows)


def main() -> int:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--children", default="1000,10000,100000", help="sizes, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--json", action="store_true", help="print JSON, and the table on standard error"
    )
    parser.add_argument("--contender", choices=["trio", "ours"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(size) for size in options.children.split(",")]
    if options.contender:
        run = run_ours if options.contender == "ours" else run_trio
        print(json.dumps(trio.run(run, sizes[0])))
        return 0
    all_lines = lines(sizes, options.rounds)
    if options.json:
        print(table(all_lines), file=sys.stderr)
        print(json.dumps([as_json(line) for line in all_lines], indent=2))
    else:
        print(table(all_lines))
    return 0 if all(line.is_met for line in all_lines) else 1


if __name__ == "__main__":
    sys.exit(main())
