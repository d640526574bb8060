"""Whatever happens to a cluster, once it is left alone it is as it was asked to be."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

from clusterlib.agents import Life
from clusterlib.build import GLOBAL, SECOND, scaled, service, template, with_image
from clusterlib.world import World
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
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

EXAMPLES = int(os.environ.get("CLUSTER_EXAMPLES", "25"))  # more of them by hand
NODES = ("node1", "node2", "node3", "node4")


@dataclass(frozen=True)
class Scale:
    replicas: int


@dataclass(frozen=True)
class Update:
    """`is_bad`: tasks of the new image fail in their start, and the update rolls back."""

    order: str
    parallelism: int
    is_bad: bool


@dataclass(frozen=True)
class CutOff:
    node: str


@dataclass(frozen=True)
class Connect:
    node: str


@dataclass(frozen=True)
class Availability:
    node: str
    value: str


@dataclass(frozen=True)
class Fail:
    """One of the tasks that run fails by itself."""

    number: int


@dataclass(frozen=True)
class NewLeader:
    pass


@dataclass(frozen=True)
class Wait:
    seconds: float


Act = Scale | Update | CutOff | Connect | Availability | Fail | NewLeader | Wait

ACTS = st.one_of(
    st.builds(Scale, st.integers(0, 6)),
    st.builds(
        Update, st.sampled_from(["stop-first", "start-first"]), st.integers(0, 3), st.booleans()
    ),
    st.builds(CutOff, st.sampled_from(NODES)),
    st.builds(Connect, st.sampled_from(NODES)),
    st.builds(Availability, st.sampled_from(NODES), st.sampled_from(["active", "pause", "drain"])),
    st.builds(Fail, st.integers(0, 20)),
    st.builds(NewLeader),
    st.builds(Wait, st.sampled_from([0.0, 0.15, 0.7, 2.0, 6.0, 30.0])),
)


def act(world: World, what: Act) -> None:
    web = world.store.services["web"]
    match what:
        case Scale(replicas):
            world.store.put(scaled(web, replicas))
        case Update(order, parallelism, is_bad):
            after = with_image(web, f"{'bad' if is_bad else 'app'}:{web.spec_version}")
            config = UpdateConfig(parallelism=parallelism, order=order, failure_action="rollback")
            world.store.put(replace(after, spec=replace(after.spec, update_config=config)))
        case CutOff(node):
            if node in world.store.sessions:
                world.cut_off(node)
        case Connect(node):
            if node not in world.store.sessions:
                world.connect(node)
        case Availability(node, value):
            spec = NodeSpec(availability=value)
            world.store.put(replace(world.store.nodes[node], spec=spec))
        case Fail(number):
            running = sorted(world.running("web"), key=lambda task: task.id)
            if running:
                task = running[number % len(running)]
                status = replace(task.status, state=TaskState.FAILED, timestamp=world.now)
                world.store.put(replace(task, status=status))
        case NewLeader():
            world.elect()
        case Wait(seconds):
            world.run(seconds)


def life(task: Task) -> Life:
    spec = task.spec.container_spec
    is_bad = spec is not None and spec.image.startswith("bad")
    return Life(start_ends=TaskState.FAILED) if is_bad else Life()


# Updates follow one another before the first has replaced anything: the slot had three tasks.
OVERTAKEN = [
    Wait(30.0), CutOff("node3"), Update("start-first", 2, False), Scale(1), Scale(4),
    Update("start-first", 3, False), Wait(0.7), Update("stop-first", 1, True), Wait(0.0),
    Availability("node2", "pause"), CutOff("node4"), Update("start-first", 3, True),
    Availability("node4", "drain"), Update("start-first", 3, True),
]  # fmt: skip


@example(OVERTAKEN)
@settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(ACTS, max_size=14))
def test_what_was_asked_for_is_what_runs_in_the_end(acts: list[Act]) -> None:
    """Each slot and each node has its one task, of the spec that holds, and little is left over."""
    world = World(life_of=life, observe=never(at_most_wanted=2))
    world.add_nodes(len(NODES))
    for name in ("ingress", "net"):
        spec = NetworkSpec(name=name, ingress=name == "ingress")
        world.store.put(
            ClusterNetwork(id=name, created_at=world.now, updated_at=world.now, spec=spec)
        )
    policy = TaskRestartPolicy(delay=4 * SECOND)
    web = template(networks=["net"], restart=policy)
    published = EndpointSpec(ports=[PortConfig(target_port=80)])
    world.store.put(service("web", 3, spec=web, endpoint=published))
    world.store.put(service("all", mode=GLOBAL, spec=template(restart=policy)))
    for what in acts:
        act(world, what)
    for node in NODES:
        act(world, Connect(node))
        act(world, Availability(node, "active"))
    world.run(300)
    check_web(world)
    assert Counter(task.node_id for task in world.running("all")) == Counter(NODES)
    running = sum(task.status.state is TaskState.RUNNING for task in world.store.tasks.values())
    assert running == len(world.running("web")) + len(NODES), "nothing else runs"
    history = Counter((t.service_id, t.slot or t.node_id) for t in world.store.tasks.values())
    assert max(history.values(), default=0) <= 5
    if not waits_for_its_user(world):
        before = world.transactions
        world.elect()
        world.run(100)
        assert world.transactions == before, "a new leader finds nothing to do"


def waits_for_its_user(world: World) -> bool:
    """Whether the service is paused, or its spec is one that cannot run. It goes on failing."""
    web = world.store.services["web"]
    image = web.spec.task_template.container_spec
    is_bad = image is not None and image.image.startswith("bad")
    return is_bad or (web.update_status is not None and "paused" in web.update_status.state)


def check_web(world: World) -> None:
    web = world.store.services["web"]
    running = world.running("web")
    replicas = web.spec.mode.replicated
    assert replicas is not None
    if waits_for_its_user(world):
        return
    assert web.update_status is None or web.update_status.state.endswith("completed")
    assert len(running) == len({task.slot for task in running}) == replicas.replicas
    wanted = web.spec.task_template.container_spec
    assert all(task.spec.container_spec == wanted for task in running)
