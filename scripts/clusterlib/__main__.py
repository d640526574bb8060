"""`scripts/simulate-cluster`: what the leader's rules cost, as the cluster grows."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from clusterlib.measuring import measure

SIZES = "100,250,500,750,1000"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each size in a process of its own, so that memory is that size's."""
    parser = argparse.ArgumentParser(prog="simulate-cluster", description=__doc__)
    parser.add_argument("--sizes", default=SIZES, help=f"numbers of nodes ({SIZES})")
    parser.add_argument("--tasks-per-node", type=int, default=100)
    parser.add_argument("--results", type=Path, help="write the figures there, as JSON")
    parser.add_argument("--plot", type=Path, help="draw what a task costs (.svg, .png)")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(options.one, options.tasks_per_node)))
        return 0
    results = []
    for size in map(int, options.sizes.split(",")):
        command = [sys.executable, "-m", "clusterlib", "--one", str(size)]
        command += ["--tasks-per-node", str(options.tasks_per_node)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout))
        print(json.dumps(results[-1], indent=2), flush=True)
    if options.results:
        options.results.write_text(json.dumps(results, indent=2) + "\n")
    if options.plot:
        from clusterlib.plotting import plot

        plot(results, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
