"""Whether the swarm kept its promises: from the history, and from what it is in the end."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from lablib.engines import Engine

from . import specs
from .history import ClusterHistory, Fault, Write
from .load import STEADY
from .registers import check_chain, check_reads
from .scene import ClusterScene

SETTLE_S: Final = 120.0
LOOK_S: Final = 1.0
LOST_AFTER_S: Final = 15.0
"""How long a node may be away without any of its tasks being replaced: its last beat was up to 5 s
before, it is missed after three of them, and its tasks are replaced 5 s later."""
_ADDRESS: Final = re.compile(r"^Address(?: \d+)?:\s+([0-9.]+)(?:\s|$)", re.MULTILINE)


def judge(
    scene: ClusterScene, history: ClusterHistory, first_values: Mapping[str, int]
) -> list[str]:
    """What is wrong, a line each. The nemesis and the clients have ended, all engines are up.

    `first_values`: the numbers that the clients' common services were made with.
    """
    wrong = list(history.wrong)
    wrong += _settled(scene)
    services = _by_name(scene, "/services")
    for subject in sorted({write.subject for write in history.writes if write.seen}):
        wrong += _judge_updates(history, subject, services.get(subject), first_values)
    for kind, there in (
        ("service", services),
        ("secret", _by_name(scene, "/secrets")),
        ("config", _by_name(scene, "/configs")),
    ):
        wrong += _judge_existence(history, kind, there)
    wrong += _judge_references(scene, services)
    wrong += judge_steady(scene, history)
    wrong += _judge_names(scene)
    return wrong


# ── updates, comings and goings


def _judge_updates(
    history: ClusterHistory, subject: str, there: Any | None, first_values: Mapping[str, int]
) -> Iterator[str]:
    writes = history.of(subject)
    updates = [write for write in writes if write.seen]
    yield from check_reads(subject, [r for r in history.reads if r.subject == subject], updates)
    if there is None:
        if subject in first_values:
            yield f"{subject}: it is not there any more"
        return
    made = next((one.value for one in writes if one.what == "service create"), None)
    first = first_values.get(subject, made if made is not None else 0)
    spec = there["Spec"]
    yield from check_chain(subject, first, updates, specs.value_of(spec), specs.content_of(spec))


def _judge_existence(history: ClusterHistory, kind: str, there: Mapping[str, Any]) -> Iterator[str]:
    """Names are used once: one creation, and after it one removal at most."""
    for made in history.writes:
        if made.what != f"{kind} create":
            continue
        removals = [one for one in history.of(made.subject) if one.what == f"{kind} rm"]
        if made.subject in there and made.ok is False:
            yield f"{made.subject}: its creation was refused ({made.answer}), and it is there"
        if made.subject in there and any(one.ok for one in removals):
            yield f"{made.subject}: its removal was acknowledged, and it is there"
        kept = all(one.ok is False and not _says_gone(one) for one in removals)
        if made.ok and kept and made.subject not in there:
            yield f"{made.subject}: it was acknowledged, and is not there"
        if made.ok and any(_says_gone(one) for one in removals[:1]):
            yield f"{made.subject}: it was acknowledged, and a removal did not find it"


def _says_gone(removal: Write) -> bool:
    return removal.answer.startswith("404")


def _judge_references(scene: ClusterScene, services: Mapping[str, Any]) -> Iterator[str]:
    ids = {kind: {o["ID"] for o in _listed(scene, f"/{kind}s")} for kind in ("secret", "config")}
    for name, service in services.items():
        container = service["Spec"]["TaskTemplate"]["ContainerSpec"]
        for secret in container.get("Secrets") or ():
            if secret["SecretID"] not in ids["secret"]:
                yield f"{name}: it names the secret {secret['SecretName']}, which is not there"
        for config in container.get("Configs") or ():
            if config["ConfigID"] not in ids["config"]:
                yield f"{name}: it names the config {config['ConfigName']}, which is not there"


# ── all managers agree, and what runs is what is wanted


def _settled(scene: ClusterScene) -> list[str]:
    """What still differs when SETTLE_S have passed."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            wrong = [*_differences(scene), *_judge_tasks(scene)]
        except OSError as error:
            wrong = [str(error)]
        if not wrong or time.monotonic() > deadline:
            return wrong
        time.sleep(LOOK_S)


def _differences(scene: ClusterScene) -> Iterator[str]:
    first, *others = scene.managers
    for what in ("services", "nodes", "tasks", "secrets", "configs", "networks"):
        wanted = _comparable(scene, first, what)
        for other in others:
            found = _comparable(scene, other, what)
            if found != wanted:
                odd = sorted(set(found.items()) ^ set(wanted.items()))
                yield f"{first.host.name} and {other.host.name} differ in {what}: {odd[:3]}"
    if not scene.is_whole(scene.managers):
        yield f"not every node is heard of: {_comparable(scene, first, 'nodes')}"


def _comparable(scene: ClusterScene, engine: Engine, what: str) -> dict[str, str]:
    listed = scene.look(engine, f"/{what}")
    if what == "networks":
        return {one["Id"]: one["Name"] for one in listed or () if one["Scope"] == "swarm"}
    if what == "nodes":
        return {one["ID"]: json.dumps([one["Status"], one.get("ManagerStatus")]) for one in listed}
    return {one["ID"]: str(one["Version"]["Index"]) for one in listed or ()}


def _judge_tasks(scene: ClusterScene) -> Iterator[str]:
    """As many run as are wanted, each in one container, and no other container does."""
    tasks = [
        one
        for one in _listed(scene, "/tasks")
        if one["DesiredState"] == "running" and one["Status"]["State"] == "running"
    ]
    running = Counter(task["ServiceID"] for task in tasks)
    for service in _listed(scene, "/services"):
        wanted = specs.replicas_of(service["Spec"])
        if running.pop(service["ID"], 0) != wanted:
            yield f"{service['Spec']['Name']}: not {wanted} tasks run"
    for service_id, number in running.items():
        yield f"{number} tasks run of a service that is not there ({service_id})"
    for engine in scene.engines:
        node_id = scene.node_ids[engine.host.name]
        of_node = {task["ID"] for task in tasks if task["NodeID"] == node_id}
        there = Counter(scene.containers(engine).values())
        yield from (
            f"{engine.host.name}: {there[id_]} containers of task {id_}, which "
            f"{'is to run' if id_ in of_node else 'is not to run'} there"
            for id_ in sorted({*there, *of_node})
            if there[id_] != (id_ in of_node)
        )


def judge_steady(scene: ClusterScene, history: ClusterHistory) -> Iterator[str]:
    """The containers of the service that nobody changed are those that were there in the beginning,
    but for those of nodes that were away for so long that they had to be replaced."""
    for engine in scene.engines:
        away_s = longest_absence_s([f for f in history.faults if f.host == engine.host.name])
        for container, began in scene.steady[engine.host.name].items():
            now = scene.begun_at(engine, container)
            if now != began and away_s < LOST_AFTER_S:
                yield (
                    f"{STEADY}: container {container[:12]} at {engine.host.name} was started at "
                    f"{began}, and is now {now or 'not running'}; the host was away for "
                    f"{away_s:.1f} s at most"
                )


def longest_absence_s(faults: Sequence[Fault]) -> float:
    """How long a host that had these faults may not have been heard of, at most.

    TCP tries a connection that was cut again after at most as long as the cut has lasted; a cut
    that comes before that goes on with the absence.
    """
    longest_s, began_s, heard_s = 0.0, 0.0, -1.0
    for fault in faults:
        undone_s = fault.undone_s or fault.mended_s
        if fault.struck_s > heard_s:
            began_s = fault.struck_s
        heard_s = undone_s + (undone_s - fault.struck_s if "cut" in fault.what else 0.0)
        longest_s = max(longest_s, heard_s - began_s)
    return longest_s


def _judge_names(scene: ClusterScene) -> Iterator[str]:
    """`tasks.NAME` in a container of each host is where that service's tasks are."""
    wanted = {
        name: {address for task in tasks for address in task}
        for name, tasks in _addresses(scene).items()
    }
    if STEADY not in wanted:
        yield f"nobody says where the tasks of {STEADY} are"
    for engine in scene.engines:
        asker = next(iter(_steady_of(scene, engine)), None)
        if asker is None:
            yield f"{engine.host.name}: no task of {STEADY} to ask for names"
            continue
        for name, addresses in sorted(wanted.items()):
            found = _resolved(engine, asker, f"tasks.{name}")
            if found != addresses:
                yield (
                    f"at {engine.host.name} tasks.{name} is {sorted(found)}, not "
                    f"{sorted(addresses)}"
                )


def _addresses(scene: ClusterScene) -> dict[str, list[list[str]]]:
    names = {one["ID"]: one["Spec"]["Name"] for one in _listed(scene, "/services")}
    found: dict[str, list[list[str]]] = {}
    for task in _listed(scene, "/tasks"):
        if task["DesiredState"] != "running" or task["Status"]["State"] != "running":
            continue
        own = [
            address.partition("/")[0]
            for attachment in task.get("NetworksAttachments") or ()
            if attachment["Network"]["Spec"]["Name"] == specs.NETWORK
            for address in attachment["Addresses"]
        ]
        if own:
            found.setdefault(names[task["ServiceID"]], []).append(own)
    return found


def _resolved(engine: Engine, container: str, name: str) -> set[str]:
    told = engine.try_docker("exec", container, "nslookup", "-type=a", f"{name}.") or ""
    _, _, answers = told.partition("Name:")
    return set(_ADDRESS.findall(answers))


def _steady_of(scene: ClusterScene, engine: Engine) -> list[str]:
    tasks = {task["ID"] for task in _listed(scene, f'/tasks?filters={{"service":["{STEADY}"]}}')}
    return [id_ for id_, task in scene.containers(engine).items() if task in tasks]


def _listed(scene: ClusterScene, target: str) -> list[Any]:
    return scene.look(scene.managers[0], target) or []


def _by_name(scene: ClusterScene, target: str) -> dict[str, Any]:
    return {one["Spec"]["Name"]: one for one in _listed(scene, target)}
