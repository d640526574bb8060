"""`scripts/bench`: what to measure, and where the figures go."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import start_profile
from .bench import FULL, QUICK, Scale, running_bench
from .engines import REPOSITORY, EngineFailed, otp_figures
from .history import courses, slower
from .http import HttpError
from .lines import LINES
from .report import document, save, table
from .results import Result

OTP = "otp"


def main(argv: Sequence[str]) -> int:
    """Measure, print, save. Exit status 2 when this machine cannot, else 0: an aim is no test."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends in good order, like Ctrl-C
    if options.list:
        print("\n".join((*LINES, OTP)))
        return 0
    wanted = options.only or [*LINES, OTP]
    lines = [name for name in wanted if name in LINES]
    missing = [tool for tool in ("containerd", "runc", "ctr", "docker") if not shutil.which(tool)]
    if lines and (os.geteuid() != 0 or missing):
        print(f"bench: needs root and {', '.join(missing) or 'nothing else'}", file=sys.stderr)
        return 2
    scale = QUICK if options.quick else FULL
    if options.runs:
        scale = replace(scale, rounds=options.runs, heavy_rounds=options.runs)
    if options.profile_start:
        print(start_profile.table(start_profile.profile_start(scale)))
        return 0
    results, skipped = _measure(lines, scale) if lines else ([], {})
    otp = otp_figures(is_quick=options.quick) if OTP in wanted else None
    found = document(results, otp=otp, skipped=skipped, is_quick=options.quick)
    path = options.output or REPOSITORY / time.strftime("bench-results/%Y-%m-%dT%H-%M-%S.json")
    save(found, path)
    if results:
        print(table(results))
    for name, why in skipped.items():
        print(f"skipped {name}: {why}")
    print(f"figures: {path}")
    if results:
        _compare(found, path, has_plots=not options.no_plots)
    return 0


def _compare(found: dict[str, Any], path: Path, *, has_plots: bool) -> None:
    """With earlier runs beside the file; pictures beside it, too."""
    all_courses = courses(found, path.parent)
    print("".join(f"{sentence}\n" for sentence in slower(all_courses)), end="")
    if not has_plots:
        return
    try:
        from .plots import plot_history, plot_ratios
    except ImportError:
        print("no plots: matplotlib is not installed (scripts/setup --dev)")
        return
    pictures = path.with_suffix(".ratios.png"), path.with_suffix(".history.png")
    plot_ratios(found["lines"], pictures[0])
    plot_history(all_courses, pictures[1])
    print(f"plots: {pictures[0]}, {pictures[1]}")


def _measure(names: Sequence[str], scale: Scale) -> tuple[list[Result], dict[str, str]]:
    results: list[Result] = []
    with running_bench(scale) as bench:
        for name in names:
            print(f"measuring {name} ...", file=sys.stderr)
            try:
                results.append(LINES[name](bench))
                print(table(results[-1:]), file=sys.stderr)
            except (EngineFailed, HttpError) as error:  # the other lines are still worth having
                bench.skipped[name] = str(error)
            except KeyboardInterrupt:  # and so is what was measured until now
                bench.skipped[name] = "interrupted"
                break
    return results, bench.skipped


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure Wharfinger beside ctr and, when installed, dockerd: medians of "
        "alternating runs, the ratio of ours to theirs (below 1 is better), a table and a JSON "
        "file. Needs root; uses folders, a containerd and network namespaces of its own.",
        epilog="Environment: BENCH_PYTHON=<interpreter> instead of .venv's.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*LINES, OTP],
        metavar="NAME",
        help="this line only (may be repeated; in the order given)",
    )
    parser.add_argument(
        "--profile-start",
        action="store_true",
        help="instead of all lines: where the processor time of a start goes",
    )
    parser.add_argument("--runs", type=int, metavar="N", help="rounds of every line")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the JSON goes")
    parser.add_argument("--no-plots", action="store_true", help="the table and the JSON only")
    parser.add_argument("--list", action="store_true", help="print the names of the lines")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
