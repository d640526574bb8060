"""`scripts/chaos`: seed and length, then the load, the nemesis, and the verdict."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .clients import LIVES, Client
from .cluster.run import run as run_cluster
from .history import History
from .nemesis import STROKES, Nemesis
from .scene import Scene, SceneFailed, scene
from .verdict import judge

NEEDED: Final = ("containerd", "runc", "docker", "nft", "ip", "nsenter", "docker-registry")
CLIENT_END_S: Final = 180.0


def main(argv: Sequence[str]) -> int:
    """Exit status 0 when every promise was kept; 1 when one was not; 2: it cannot be run."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.cluster:
        return run_cluster(options)
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        print(f"chaos: needs root and {', '.join(missing) or 'nothing else'}", file=sys.stderr)
        return 2
    print(f"seed {options.seed}, {options.minutes:g} minutes")
    history = History()
    try:
        with scene() as made:
            wrong = _torment(made, history, options)
            if wrong and options.keep:
                shutil.copy(made.log, options.keep)
                history.write(Path(f"{options.keep}.json"))
    except SceneFailed as error:
        print(f"the engine does not come up:\n{error}")
        return 1
    _tell(history, wrong)
    return 1 if wrong else 0


def _torment(made: Scene, history: History, options: argparse.Namespace) -> list[str]:
    since_s = time.time()
    clients = [Client(made, history, options.seed, number) for number in range(options.clients)]
    lives = [LIVES[name] for name in sorted(LIVES)]
    threads = [
        threading.Thread(target=client.run, args=(lives[number % len(lives)],), daemon=True)
        for number, client in enumerate(clients)
    ]
    nemesis = Nemesis(made, history, options.seed)
    striking = threading.Thread(target=nemesis.run, daemon=True)
    for thread in (*threads, striking):
        thread.start()
    time.sleep(options.minutes * 60)
    nemesis.ended.set()
    striking.join()
    for client in clients:
        client.ended.set()
    for thread in threads:
        thread.join(CLIENT_END_S)
    hung = [thread.name for thread in threads if thread.is_alive()]
    return [*(f"{name}: a client hangs" for name in hung), *judge(made, history, since_s)]


def _tell(history: History, wrong: Sequence[str]) -> None:
    operations = Counter((one.what, one.ok) for one in history.operations)
    words = {True: "done", False: "refused", None: "no answer"}
    for (what, ok), count in sorted(operations.items(), key=lambda item: item[0][0]):
        print(f"  {what:15} {words[ok]:10} {count:6}")
    strokes = Counter(what for _, what in history.strokes)
    print(", ".join(f"{what} {count}" for what, count in sorted(strokes.items())))
    print(f"{len(history.fates)} containers; {len(wrong)} promises not kept")
    for line in wrong:
        print(f"WRONG {line}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chaos",
        description="Load an engine with docker clients, break things under it "
        f"({', '.join(STROKES)}), and check from what was recorded that nothing acknowledged is "
        "lost, that exit codes, logs and events are right, and that nothing is left over.",
    )
    parser.add_argument("--seed", type=int, default=1, help="for the same choices again")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--keep", metavar="FILE", default="", help="log and history, if it fails")
    swarm = parser.add_argument_group("a swarm", "several engines, whose managers are broken")
    swarm.add_argument("--cluster", action="store_true", help="load a swarm, not one engine")
    swarm.add_argument("--managers", type=int, default=3)
    swarm.add_argument("--workers", type=int, default=0)
    swarm.add_argument("--each", action="store_true", help="only each fault once, at the leader")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
