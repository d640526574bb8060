"""A leader may die between any two of its writes: the next one comes to the same.

Each scenario is run once to count its writes, and then once for each write, with a leader that dies
right after it. What is checked in the end does not depend on how it was come by; what must never be
is checked after every write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from clusterlib.agents import Life
from clusterlib.build import GLOBAL, GLOBAL_JOB, SECOND, job, scaled, service, template, with_image
from clusterlib.world import World
from msgspec.structs import replace

from services.cluster.model.objects import ClusterNetwork, Task
from services.cluster.model.specs import (
    EndpointSpec,
    NetworkSpec,
    NodeSpec,
    PortConfig,
    UpdateConfig,
)
from services.cluster.model.task_spec import TaskRestartPolicy
from services.cluster.model.task_state import TaskState
from tests.services.cluster.orchestrator.invariants import never


@dataclass(frozen=True)
class Scenario:
    """`act` is what happens to the cluster; `outcome` what must be the same in the end."""

    act: Callable[[World], None]
    outcome: Callable[[World], object]
    life: Callable[[Task], Life] = lambda _: Life()
    at_most_wanted: int = 1  # in one slot at a time


def picture(world: World) -> object:
    """Which tasks run, by slot and image; and how the service's update stands."""
    pictures = []
    for id, made in sorted(world.store.services.items()):
        tasks = [(t.slot, t.spec.container_spec.image) for t in world.running(id)
                 if t.spec.container_spec]  # fmt: skip
        per_node = Counter(task.node_id for task in world.running(id))
        spread = max(per_node.values(), default=0) - min(per_node.values(), default=0)
        state = made.update_status.state if made.update_status else ""
        pictures.append((id, sorted(tasks), spread <= 1, state))
    return pictures


def jobs_picture(world: World) -> object:
    """How many tasks of each job have ended well, by slot and by node."""
    return sorted(
        (t.service_id, t.slot, t.node_id if not t.service_id.startswith("count") else "")
        for t in world.store.tasks.values()
        if t.status.state is TaskState.COMPLETE
    )


def scale(world: World) -> None:
    world.store.put(service(replicas=2))
    world.run(20)
    world.store.put(scaled(world.store.services["web"], 6))
    world.run(20)
    world.store.put(scaled(world.store.services["web"], 3))
    world.run(60)


def overlay(world: World) -> None:
    at = world.now
    ingress = NetworkSpec(name="ingress", ingress=True)
    world.store.put(ClusterNetwork(id="in", created_at=at, updated_at=at, spec=ingress))
    world.store.put(
        ClusterNetwork(id="net", created_at=at, updated_at=at, spec=NetworkSpec(name="net"))
    )
    ports = EndpointSpec(ports=[PortConfig(target_port=80), PortConfig(target_port=81)])
    for name in ("api", "web"):
        world.store.put(service(name, 3, spec=template(networks=["net"]), endpoint=ports))
    world.run(30)
    world.store.put(scaled(world.store.services["web"], 5))
    world.cut_off("node1")
    world.run(60)


def overlay_picture(world: World) -> object:
    networks = [(n.name, [s.subnet for s in n.subnets]) for n in world.store.networks.values()]
    ports = sorted(p.published_port for s in world.store.services.values() if s.endpoint
                   for p in s.endpoint.ports)  # fmt: skip
    alive = {id: sorted(t.slot for t in world.running(id) if t.node_id != "node1")
             for id in world.store.services}  # fmt: skip
    return networks, ports, alive


def update(order: str) -> Callable[[World], None]:
    def act(world: World) -> None:
        config = UpdateConfig(parallelism=2, order=order)
        world.store.put(service(replicas=4, update=config))
        world.run(20)
        world.store.put(with_image(world.store.services["web"], "app:2"))
        world.run(120)

    return act


def failing_update(world: World) -> None:
    config = UpdateConfig(parallelism=1, failure_action="rollback", delay=4 * SECOND)
    world.store.put(service(replicas=3, update=config))
    world.run(20)
    world.store.put(with_image(world.store.services["web"], "bad"))
    world.run(200)


def node_death(world: World) -> None:
    world.store.put(service(replicas=4))
    world.store.put(service("everywhere", mode=GLOBAL))
    world.run(20)
    world.cut_off("node1")
    world.run(40)
    world.connect("node1")
    world.run(60)
    drained = replace(world.store.nodes["node2"], spec=NodeSpec(availability="drain"))
    world.store.put(drained)
    world.run(60)


def node_death_picture(world: World) -> object:
    at = {id: sorted(t.slot or t.node_id for t in world.running(id)) for id in world.store.services}
    return {id: [str(one) for one in slots] for id, slots in at.items()}


def jobs(world: World) -> None:
    restart = TaskRestartPolicy(condition="on-failure", delay=SECOND)
    world.store.put(service("count", mode=job(2, 5), spec=template(restart=restart)))
    world.store.put(service("each", mode=GLOBAL_JOB, spec=template(restart=restart)))
    world.run(120)


def restarts(world: World) -> None:
    policy = TaskRestartPolicy(delay=SECOND, max_attempts=3)
    world.store.put(service(replicas=2, spec=template(restart=policy)))
    world.run(120)


def restarts_picture(world: World) -> object:
    return sorted((task.slot, task.restart_count) for task in world.tasks("web"))


def removal(world: World) -> None:
    world.store.put(service(replicas=4))
    world.run(20)
    world.delete(world.store.services["web"])
    world.run(60)


SCENARIOS = {
    "scale": Scenario(scale, picture),
    "overlay": Scenario(overlay, overlay_picture),
    "stop-first": Scenario(update("stop-first"), picture),
    "start-first": Scenario(update("start-first"), picture, at_most_wanted=2),
    "rollback": Scenario(
        failing_update,
        picture,
        lambda t: (
            Life(lives_s=1)
            if t.spec.container_spec and t.spec.container_spec.image == "bad"
            else Life()
        ),
    ),
    "nodes": Scenario(node_death, node_death_picture),
    "jobs": Scenario(
        jobs,
        jobs_picture,
        lambda t: Life(
            lives_s=2, ends=TaskState.FAILED if t.restart_count == 0 else TaskState.COMPLETE
        ),
    ),
    "restarts": Scenario(restarts, restarts_picture, lambda _: Life(lives_s=2)),
    "removal": Scenario(removal, lambda world: f"{len(world.store.tasks)} tasks"),
}


def play(scenario: Scenario, *, dies_after: int | None = None, refuses: int | None = None) -> World:
    check = never(scenario.at_most_wanted)
    world = World(life_of=scenario.life, observe=check, dies_after=dies_after, refuses=refuses)
    world.add_nodes(3)
    scenario.act(world)
    return world


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_leader_that_dies_after_any_write_changes_no_outcome(name: str) -> None:
    """The same tasks run in the end, and no slot or address was ever given twice."""
    scenario = SCENARIOS[name]
    whole = play(scenario)
    wanted = scenario.outcome(whole)
    assert wanted
    for write in range(1, whole.transactions + 1):
        world = play(scenario, dies_after=write)
        assert scenario.outcome(world) == wanted, f"the leader died after write {write}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_write_that_is_refused_changes_no_outcome(name: str) -> None:
    """The rule, which goes on with what it remembers, asks for it again."""
    scenario = SCENARIOS[name]
    whole = play(scenario)
    wanted = scenario.outcome(whole)
    for write in range(1, whole.transactions + 1):
        world = play(scenario, refuses=write)
        assert scenario.outcome(world) == wanted, f"write {write} was refused"
