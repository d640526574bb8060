"""One run: the swarm's services, the load, the nemesis, and what came of it."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from . import specs
from .history import ClusterHistory, Write
from .load import LIVES, NOT_THERE, REGISTERS, RENEWED, SCALED, STEADY, Client, probe_of
from .nemesis import Nemesis
from .scene import ClusterScene, ask, cluster_scene, wait
from .timing import RESUME_S, calm_silence_s, silences
from .verdict import judge

NEEDED: Final = ("containerd", "runc", "docker", "nft", "ip", "nsenter", "etcd", "etcdctl")
CALM_S: Final = 3.0
CLIENT_END_S: Final = 60.0
PROBE_NUMBERS: Final = 1000  # so that their chances are nobody else's
SHOWN_SILENCES: Final = 5
QUIET_MACHINE_S: Final = 0.5
"""Where a write takes longer with nothing broken, etcd is silent, and leaders change, for want of
processor time too: then only what follows a fault at once is laid to it."""
SHOWN_CHARS: Final = 4000
_RECORD: Final = re.compile(r"^(?=\d{4}-\d\d-\d\dT)", re.MULTILINE)
_KILLED: Final = "ended with status -9"


def run(options: Namespace) -> int:
    """Exit status 0 when every promise was kept; 1 when one was not; 2: it cannot be run."""
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        print(f"chaos: needs root and {', '.join(missing) or 'nothing else'}", file=sys.stderr)
        return 2
    length = "each fault once" if options.each else f"{options.minutes:g} minutes"
    print(f"seed {options.seed}, {length}, {options.managers} managers, {options.workers} workers")
    history = ClusterHistory()
    with cluster_scene(options.managers, options.workers) as scene:
        first_values = _set_up(scene, history)
        _torment(scene, history, options)
        end_s = history.now_s()
        wrong = judge(scene, history, first_values)
        for engine in scene.engines:
            wrong += [f"{engine.host.name} tells of a bug:\n{bug}" for bug in bugs_in(engine.log)]
        late = _tell(scene, history, end_s)
        if (wrong or late) and options.keep:
            _keep(scene, history, Path(options.keep))
    for line in wrong:
        print(f"WRONG {line}")
    return 1 if wrong or late else 0


def _set_up(scene: ClusterScene, history: ClusterHistory) -> dict[str, int]:
    """The network and the services that are there throughout; the number of each of them."""
    first = scene.managers[0]
    body = {"Name": specs.NETWORK, "Driver": "overlay", "Attachable": True}
    assert ask(first, "POST", "/networks/create", body).is_good
    replicas = {
        **dict.fromkeys((*REGISTERS, *map(probe_of, scene.managers)), 0),
        SCALED: 1,
        RENEWED: 1,
        STEADY: len(scene.engines),
    }
    values = {name: history.new_value() for name in replicas}
    for name, number in replicas.items():
        spec = specs.service(name, values[name], replicas=number, networks=number > 0)
        if name == STEADY:
            spec["TaskTemplate"]["Placement"] = {"MaxReplicas": 1}
        made = ask(first, "POST", "/services/create", spec)
        if not made.is_good:
            raise RuntimeError(f"{name} cannot be made: {made.text}")
    if not wait(lambda: _runs(scene, STEADY, replicas[STEADY]), 120):
        raise RuntimeError("the services do not come to run")
    tasks = {task["ID"] for task in _tasks_of(scene, STEADY)}
    scene.steady = {
        engine.host.name: {
            container: scene.begun_at(engine, container)
            for container, task in scene.containers(engine).items()
            if task in tasks
        }
        for engine in scene.engines
    }
    if not all(scene.steady.values()):
        raise RuntimeError(f"{STEADY} does not run on each node")
    return values


def _runs(scene: ClusterScene, name: str, number: int) -> bool:
    tasks = _tasks_of(scene, name)
    return sum(task["Status"]["State"] == "running" for task in tasks) == number


def _tasks_of(scene: ClusterScene, name: str) -> Sequence[Mapping[str, Mapping[str, str]]]:
    target = f'/tasks?filters={{"service":["{name}"]}}'
    found: Sequence[Mapping[str, Mapping[str, str]]] = scene.look(scene.managers[0], target) or ()
    return found


def _torment(scene: ClusterScene, history: ClusterHistory, options: Namespace) -> None:
    lives = [LIVES[name] for name in LIVES]
    work = [
        (Client(scene, history, options.seed, number), lives[number % len(lives)])
        for number in range(options.clients)
    ]
    work += [
        (Client(scene, history, options.seed, PROBE_NUMBERS + number), Client.probe)
        for number, _ in enumerate(scene.managers)
    ]
    threads = [
        threading.Thread(target=client.run, args=(life,), daemon=True, name=life.__name__)
        for client, life in work
    ]
    for thread in threads:
        thread.start()
    began_s = history.now_s()
    time.sleep(CALM_S)
    history.calm_s = (began_s, history.now_s())
    nemesis = Nemesis(scene, history, options.seed)
    if options.each:
        nemesis.run_each()
    else:
        striking = threading.Thread(target=nemesis.run, daemon=True)
        striking.start()
        time.sleep(options.minutes * 60)
        nemesis.ended.set()
        striking.join()
    for client, _ in work:
        client.ended.set()
    for thread in threads:
        thread.join(CLIENT_END_S)
        if thread.is_alive():
            history.complain(f"a client hangs in {thread.name}")


def _tell(scene: ClusterScene, history: ClusterHistory, end_s: float) -> list[str]:
    """Print what was done, and how long writes were away; what took too long."""
    counts = Counter((one.what, _word_of(one)) for one in history.writes)
    for (what, word), number in sorted(counts.items()):
        print(f"  {what:15} {word:10} {number:6}")
    strokes = Counter(fault.what for fault in history.faults)
    print(", ".join(f"{what} {number}" for what, number in sorted(strokes.items())))
    hosts = [engine.host.name for engine in scene.managers]
    calm_s = calm_silence_s(history, hosts)
    # What a machine that has other things to do takes for a write anyway is not the swarm's doing.
    limit_s = RESUME_S + calm_s
    is_quiet = calm_s < QUIET_MACHINE_S
    found = sorted(silences(history, hosts, end_s), key=lambda one: -one.resumed_s)
    print(f"no write acknowledged, with nothing broken: for {calm_s:.2f} s at most")
    for silence in found[:SHOWN_SILENCES]:
        print(f"  {silence}")
    for line in history.unrest:
        print(f"  {line}")
    late = [
        str(one)
        for one in found
        if one.resumed_s > limit_s or (is_quiet and one.longest_s > limit_s)
    ]
    late += history.late + (history.unrest if is_quiet else [])
    for line in late:
        print(f"LATE (more than {limit_s:.2f} s) {line}")
    print(f"{len(history.writes)} writes, {len(history.faults)} faults, {len(late)} too late")
    return late


def _word_of(write: Write) -> str:
    if write.answer == NOT_THERE:
        return NOT_THERE
    return {True: "done", False: "refused", None: "no answer"}[write.ok]


def bugs_in(log: str) -> list[str]:
    """What a daemon has logged with a traceback, but for the end of an etcd that we have killed."""
    told = _RECORD.split(log)
    return [one[:SHOWN_CHARS] for one in told if "Traceback" in one and _KILLED not in one]


def _keep(scene: ClusterScene, history: ClusterHistory, path: Path) -> None:
    history.write(path.with_suffix(".json"))
    for engine in scene.engines:
        shutil.copy(engine.folder / "log", path.with_suffix(f".{engine.host.name}.log"))
