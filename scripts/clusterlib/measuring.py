"""One cluster of a size: filled, added to, hurt, and led by somebody new."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from clusterlib.agents import Life
from clusterlib.build import service, template
from clusterlib.world import World, runs
from services.cluster.model.objects import ClusterNetwork
from services.cluster.model.specs import EndpointSpec, IpamRange, NetworkSpec, PortConfig
from services.cluster.model.task_spec import ResourceRequirements, Resources
from services.cluster.model.task_state import TaskState
from services.cluster.store.codec import Codec

SERVICES = 100
NETWORKS = 20
MANY = 10_000  # tasks that are placed at once
SPEC = template(
    resources=ResourceRequirements(reservations=Resources(nano_cpus=10**7, memory_bytes=1 << 20))
)


def measure(nodes: int, tasks_per_node: int, many: int = MANY) -> dict[str, Any]:
    """Processor time in seconds, but per task in microseconds; memory in MB."""
    world = World(life_of=lambda _: Life(), codec=Codec())
    _add_networks(world)
    world.add_nodes(nodes)
    tasks = nodes * tasks_per_node
    ports = EndpointSpec(ports=[PortConfig(target_port=80)])
    services = min(SERVICES, tasks // 10)
    for number in range(services):
        spec = template(resources=SPEC.resources, networks=[f"net{number % NETWORKS}"])
        made = service(f"s{number}", tasks // services, spec=spec, endpoint=ports)
        world.store.put(made)
    fill = _phase(world, 30)
    _check(world, tasks)
    placing = _place(world, many)
    failure = _fail_node(world)
    one = _fail_task(world)
    change = _change_leader(world)
    gc.collect()
    return {
        "nodes": nodes,
        "tasks": tasks,
        "fill_us_per_task": {name: s / tasks * 1e6 for name, s in fill.items()},
        "placing": placing,
        "node_failure": failure,
        "task_failure_ms": {name: s * 1e3 for name, s in one.items()},
        "new_leader_s": change,
        "resident_mb": _resident_mb(),
    }


def _add_networks(world: World) -> None:
    at = world.now
    specs = [NetworkSpec(name="ingress", ingress=True, ipam=[IpamRange(subnet="10.0.0.0/12")])]
    specs += [
        NetworkSpec(name=f"net{n}", ipam=[IpamRange(subnet=f"10.{16 + n}.0.0/16")])
        for n in range(NETWORKS)
    ]
    for spec in specs:
        world.store.put(ClusterNetwork(id=spec.name, created_at=at, updated_at=at, spec=spec))


def _phase(world: World, seconds: float) -> dict[str, float]:
    """What each rule uses while so much time goes by."""
    world.cpu_s.clear()
    world.longest_s.clear()
    world.run(seconds)
    return dict(world.cpu_s) | {"all": sum(world.cpu_s.values())}


def _place(world: World, many: int) -> dict[str, Any]:
    """So many tasks of ten services, until the last one has a node; then they are removed."""
    for number in range(10):
        world.store.put(service(f"more{number}", many // 10, spec=SPEC, at=world.now))
    begin = time.perf_counter()
    used = _phase(world, 0)
    wall_s = time.perf_counter() - begin
    placed = sum(
        task.status.state >= TaskState.ASSIGNED
        for number in range(10)
        for task in world.store.tasks_of_service(f"more{number}")
    )
    longest = dict(world.longest_s)
    for number in range(10):
        world.delete(world.store.services[f"more{number}"])
    world.run(30)
    return {"tasks": placed, "cpu_s": used, "wall_s": wall_s, "longest_decision_s": longest}


def _fail_node(world: World) -> dict[str, Any]:
    """A node is heard of no more: until all of its tasks run elsewhere."""
    victim = "node1"
    lost = len([task for task in world.store.tasks_of_node(victim) if runs(task)])
    running = sum(runs(task) for task in world.store.tasks.values())
    world.cut_off(victim)
    used = _phase(world, 60)
    after = sum(runs(task) for task in world.store.tasks.values() if task.node_id != victim)
    assert after == running, (after, running)
    return {"tasks": lost, "cpu_s": used}


def _fail_task(world: World) -> dict[str, float]:
    """One task fails, until its successor runs."""
    task = next(task for task in world.store.tasks.values() if runs(task))
    status = replace(task.status, state=TaskState.FAILED, timestamp=world.now)
    world.store.put(replace(task, status=status))
    return _phase(world, 60)


def _change_leader(world: World) -> dict[str, float]:
    """Rules that know nothing read everything, and find nothing to do."""
    before = world.transactions
    world.elect()
    used = _phase(world, 0)
    assert world.transactions == before
    return used


def _check(world: World, tasks: int) -> None:
    running = sum(runs(task) for task in world.store.tasks.values())
    assert running == tasks, (running, tasks)


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
