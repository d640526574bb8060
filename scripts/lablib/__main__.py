"""`scripts/lab`: a swarm to try things on."""

from __future__ import annotations

import argparse
import signal
import sys

from .engines import Lab


def main() -> None:
    """Make it, say how to use it, wait for Ctrl-C, take it away."""
    parser = argparse.ArgumentParser(
        prog="scripts/lab",
        description="Run N engines on this machine, each as on a host of its own (namespaces for "
        "network, mounts and host name), joined by a bridge and, unless told otherwise, in one "
        "swarm with busybox:latest on each. Ctrl-C takes all of it away. Needs root.",
    )
    parser.add_argument("count", type=int, metavar="N", help="how many engines")
    parser.add_argument("--managers", type=int, default=0, help="of them managers (default: 3)")
    parser.add_argument("--no-swarm", action="store_true", help="leave them apart")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lab = Lab(options.count)
    try:
        _show(lab, options)
        signal.pause()
    except KeyboardInterrupt:
        print("lab: taking it away", file=sys.stderr)
    finally:
        lab.close()


def _show(lab: Lab, options: argparse.Namespace) -> None:
    lab.start()
    lab.load_image()
    if not options.no_swarm:
        lab.make_swarm(options.managers or min(3, options.count))
    for engine in lab.engines:
        print(f"{engine.host.name}  {engine.host.address}  DOCKER_HOST=unix://{engine.socket}")
    print("Ctrl-C takes it away.", flush=True)


if __name__ == "__main__":
    main()
