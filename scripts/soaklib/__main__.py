"""`scripts/soak`: how many lives, and whether anything was left of them."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

from benchlib.bench import QUICK, Bench, running_bench
from benchlib.engines import wharfinger

from .life import live_many
from .measure import JUDGED, NAMES, Holdings, holdings

SETTLE_ROUNDS: Final = 4
IDLE_S: Final = 11.0
"""trio's idle threads end after ten seconds, and containerd's collector has a rest of one."""
COMPLAINTS_SHOWN: Final = 20


def main(argv: Sequence[str]) -> int:
    """Exit status 0 when all lives went well and everything is where it began; 1; 2: cannot."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    missing = [tool for tool in ("containerd", "runc", "ctr") if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        print(f"soak: needs root and {', '.join(missing) or 'nothing else'}", file=sys.stderr)
        return 2
    with running_bench(QUICK, makers={"wharfinger": wharfinger}) as bench:
        return _soak(bench, options)


def _soak(bench: Bench, options: argparse.Namespace) -> int:
    engine, began = bench.engines["wharfinger"], time.monotonic()
    ids: set[str] = set()

    def tell(number: int) -> None:
        if (number + 1) % options.tell_every == 0:
            passed_s = time.monotonic() - began
            print(f"{number + 1} lives, {passed_s:.0f} s", file=sys.stderr, flush=True)

    complaints = live_many(engine.socket, options.warm_up, options.at_once, ids.add, tell)
    before = _settled(bench, ids, None)
    complaints += live_many(engine.socket, options.containers, options.at_once, ids.add, tell)
    after = _settled(bench, ids, before)
    print(f"{options.containers} containers, {options.at_once} at once")
    print(table(before, after, options.memory_mb))
    for complaint in complaints[:COMPLAINTS_SHOWN]:
        print(complaint)
    if len(complaints) > COMPLAINTS_SHOWN:
        print(f"and {len(complaints) - COMPLAINTS_SHOWN} more")
    return 1 if complaints or leaks(before, after, options.memory_mb) else 0


def _settled(bench: Bench, ids: set[str], wanted: Holdings | None) -> Holdings:
    """What is held once it is no more than wanted, or has had its time."""
    for _ in range(SETTLE_ROUNDS):
        time.sleep(IDLE_S)
        found = holdings(bench, bench.engines["wharfinger"], ids)
        if wanted is None or not _grown(wanted, found):
            break
    return found


def _grown(before: Holdings, after: Holdings) -> list[str]:
    return [name for name in JUDGED if getattr(after, name) > getattr(before, name)]


def leaks(before: Holdings, after: Holdings, memory_mb: float) -> list[str]:
    """What there is more of than before; memory may grow by `memory_mb`."""
    grown = _grown(before, after)
    if after.memory_mb > before.memory_mb + memory_mb:
        grown.append("memory_mb")
    return grown


def table(before: Holdings, after: Holdings, memory_mb: float) -> str:
    """One line for each kind."""
    bad = leaks(before, after, memory_mb)
    lines = [f"{'':24} {'before':>10} {'after':>10}"]
    for name in NAMES:
        values = (getattr(before, name), getattr(after, name))
        shown = [f"{v:.1f}" if isinstance(v, float) else str(v) for v in values]
        note = (
            "LEAK" if name in bad else f"may grow by {memory_mb:g}" if name == "memory_mb" else ""
        )
        lines.append(f"{name:24} {shown[0]:>10} {shown[1]:>10} {note}".rstrip())
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Run containers through create, start, exec, logs, stop and remove, and "
        "compare what engine, containerd and kernel hold afterwards with what they held before: "
        "memory, descriptors, threads, tasks, shims, mounts, leases, snapshots, cgroups, "
        "namespaces, pipes. Prints a table; the exit status is 1 when something went wrong or was "
        "left. Needs root; uses folders, a containerd and a network namespace of its own.",
        epilog="Environment: BENCH_PYTHON=<interpreter> instead of .venv's.",
    )
    parser.add_argument("--containers", type=int, default=5000, metavar="N", help="default 5000")
    parser.add_argument("--at-once", type=int, default=8, metavar="N", help="default 8")
    parser.add_argument(
        "--warm-up",
        type=int,
        default=250,
        metavar="N",
        help="lives before the first count, so that bounded caches are full (default 250)",
    )
    parser.add_argument(
        "--memory-mb",
        type=float,
        default=16.0,
        metavar="MB",
        help="how much the engine's resident memory may grow (default 16)",
    )
    parser.add_argument(
        "--tell-every", type=int, default=100, metavar="N", help="lives between two words"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
