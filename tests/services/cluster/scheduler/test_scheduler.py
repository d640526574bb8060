"""Where tasks go, and what is said of those that go nowhere."""

from __future__ import annotations

from collections import Counter

import pytest
from clusterlib.agents import Life
from clusterlib.build import GLOBAL, scaled, service, template, with_image
from clusterlib.world import World
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.cluster.model.objects import EngineDescription, Node, NodeDescription, Task
from services.cluster.model.specs import EndpointSpec, NodeSpec, PortConfig
from services.cluster.model.task_spec import (
    DiscreteGenericResource,
    GenericResource,
    LogDriver,
    NamedGenericResource,
    Placement,
    PlacementPreference,
    Platform,
    ResourceRequirements,
    Resources,
    SpreadOver,
)
from services.cluster.model.task_state import TaskState

GB = 1 << 30
HOST_PORT = EndpointSpec(ports=[PortConfig(target_port=80, published_port=80, publish_mode="host")])


def reserving(cpus: float = 0, memory: int = 0, **generic: int) -> ResourceRequirements:
    wanted = [
        GenericResource(discrete_resource_spec=DiscreteGenericResource(kind=kind, value=count))
        for kind, count in generic.items()
    ]
    reserved = Resources(nano_cpus=int(cpus * 1e9), memory_bytes=memory, generic_resources=wanted)
    return ResourceRequirements(reservations=reserved)


def per_node(world: World, id: str = "web") -> dict[str, int]:
    return dict(Counter(task.node_id for task in world.running(id)))


def errors(world: World, id: str = "web") -> set[str]:
    return {t.status.err for t in world.tasks(id) if t.status.state is TaskState.PENDING}


def relabel(world: World, id: str, **labels: str) -> None:
    node = world.store.nodes[id]
    world.store.put(replace(node, spec=replace(node.spec, labels=labels)))


def describe(world: World, id: str, description: NodeDescription) -> None:
    world.store.put(replace(world.store.nodes[id], description=description))


def test_a_service_is_spread_before_nodes_are_balanced() -> None:
    """A service goes to nodes without it, though they carry more in all."""
    world = World()
    world.add_nodes(3)
    filler = template(placement=Placement(constraints=["node.hostname != node3"]))
    world.store.put(service("filler", 8, spec=filler))
    world.run(10)
    world.store.put(service("web", 3))
    world.run(10)
    assert per_node(world) == {"node1": 1, "node2": 1, "node3": 1}
    world.store.put(service("next", 3))
    world.run(10)
    assert per_node(world, "next") == {"node1": 1, "node2": 1, "node3": 1}
    world.store.put(service("one", 1))
    world.run(10)
    assert per_node(world, "one") == {"node3": 1}


@pytest.mark.parametrize(
    ("constraint", "nodes"),
    [
        ("node.id == node2", {"node2"}),
        ("node.hostname != node2", {"node1", "node3"}),
        ("node.role == manager", {"node1"}),
        ("node.labels.zone == east", {"node1"}),
        ("node.labels.zone!=east", {"node2", "node3"}),
        ("engine.labels.disk == ssd", {"node3"}),
        ("node.platform.os == LINUX", {"node1", "node2", "node3"}),
        ("node.platform.arch == aarch64", {"node3"}),
    ],
)
def test_constraints(constraint: str, nodes: set[str]) -> None:
    world = World()
    world.add_nodes(3)
    world.store.put(replace(world.store.nodes["node1"], role="manager"))
    relabel(world, "node1", zone="east")
    other = NodeDescription(
        hostname="node3",
        platform=Platform(architecture="aarch64", os="linux"),
        resources=world.store.nodes["node3"].description.resources,
        engine=EngineDescription(labels={"disk": "ssd"}),
    )
    describe(world, "node3", other)
    spec = template(placement=Placement(constraints=[constraint]))
    world.store.put(service(replicas=6, spec=spec))
    world.run(10)
    assert set(per_node(world)) == nodes


def test_preferences_spread_over_values_then_within() -> None:
    """Six tasks over two zones of unequal size: three in each, whatever the number of nodes."""
    world = World()
    world.add_nodes(5)
    for number in range(1, 6):
        relabel(world, f"node{number}", zone="a" if number == 1 else "b")
    preference = PlacementPreference(spread=SpreadOver(spread_descriptor="node.labels.zone"))
    spec = template(placement=Placement(preferences=[preference]))
    world.store.put(service(replicas=6, spec=spec))
    world.run(10)
    placed = per_node(world)
    assert placed["node1"] == 3
    assert sorted(n for id, n in placed.items() if id != "node1") == [1, 1, 1]


def test_a_full_branch_leaves_the_rest_to_its_siblings() -> None:
    world = World()
    world.add_nodes(3)
    relabel(world, "node1", zone="a")
    preference = PlacementPreference(spread=SpreadOver(spread_descriptor="node.labels.zone"))
    spec = template(placement=Placement(preferences=[preference]), resources=reserving(cpus=4))
    world.store.put(service(replicas=5, spec=spec))
    world.run(10)
    assert sum(per_node(world).values()) == 5
    assert per_node(world)["node1"] == 2


def test_what_reservations_leave_is_not_given_twice() -> None:
    """Eight processors hold two tasks of three; the rest is told why it waits."""
    world = World()
    world.add_nodes(3)
    world.store.put(service(replicas=9, spec=template(resources=reserving(cpus=3))))
    world.run(10)
    assert set(per_node(world).values()) == {2}
    assert errors(world) == {"no suitable node (insufficient resources on 3 nodes)"}


def test_what_waits_gets_the_room_that_comes_free() -> None:
    world = World()
    world.add_nodes(1)
    world.store.put(service("a", 2, spec=template(resources=reserving(memory=8 * GB))))
    world.run(10)
    world.store.put(service("b", 1, spec=template(resources=reserving(memory=8 * GB))))
    world.run(10)
    assert errors(world, "b") == {"no suitable node (insufficient resources on 1 node)"}
    world.delete(world.store.services["a"])
    world.run(10)
    assert per_node(world, "b") == {"node1": 1}
    assert world.running("b")[0].status.err == ""


def test_generic_resources_are_claimed_by_name_and_by_number() -> None:
    """Named ones are told to the task by name, each to one task only."""
    world = World()
    world.add_nodes(2)
    cards = [
        GenericResource(named_resource_spec=NamedGenericResource(kind="gpu", value=f"card{n}"))
        for n in (1, 2)
    ]
    seats = GenericResource(discrete_resource_spec=DiscreteGenericResource(kind="seat", value=3))
    has = world.store.nodes["node1"].description
    resources = replace(has.resources, generic_resources=[*cards, seats])
    describe(world, "node1", replace(has, resources=resources))
    world.store.put(service(replicas=3, spec=template(resources=reserving(gpu=1, seat=1))))
    world.run(10)
    assert per_node(world) == {"node1": 2}
    names = {
        one.named_resource_spec.value
        for task in world.running("web")
        for one in task.generic_resources
        if one.named_resource_spec
    }
    assert names == {"card1", "card2"}
    assert errors(world) == {"no suitable node (insufficient resources on 2 nodes)"}


def test_a_host_port_is_one_tasks_only() -> None:
    world = World()
    world.add_nodes(2)
    world.store.put(service(replicas=3, endpoint=HOST_PORT))
    world.run(10)
    assert set(per_node(world).values()) == {1}
    assert errors(world) == {"no suitable node (host-mode port already in use on 2 nodes)"}


def test_a_host_port_is_free_once_its_task_has_ended() -> None:
    """A restart, an update and another service all get it again."""
    ends = Life(lives_s=3)
    world = World(life_of=lambda task: ends if task.restart_count == 0 else Life())
    world.add_nodes(1)
    world.store.put(service(replicas=1, endpoint=HOST_PORT))
    world.run(20)
    assert per_node(world) == {"node1": 1}
    world.store.put(with_image(world.store.services["web"], "app:2"))
    world.run(20)
    assert per_node(world) == {"node1": 1}
    world.delete(world.store.services["web"])
    world.store.put(service("other", 1, endpoint=HOST_PORT))
    world.run(20)
    assert per_node(world, "other") == {"node1": 1}


def test_what_a_node_is_later_counts() -> None:
    """Labels, availability and resources that change after tasks were placed."""
    world = World()
    world.add_nodes(2)
    world.store.put(service("before", 2))
    world.run(10)
    relabel(world, "node2", zone="east")
    spec = template(placement=Placement(constraints=["node.labels.zone == east"]))
    world.store.put(service(replicas=2, spec=spec))
    world.run(10)
    assert per_node(world) == {"node2": 2}
    has = world.store.nodes["node1"].description
    big = replace(has, resources=Resources(nano_cpus=64 * 10**9, memory_bytes=GB))
    describe(world, "node1", big)
    world.store.put(service("big", 1, spec=template(resources=reserving(cpus=32))))
    world.run(10)
    assert per_node(world, "big") == {"node1": 1}


def test_a_branchs_tasks_count_when_more_come() -> None:
    """Scaling up evens the branches out, with what they have already."""
    world = World()
    world.add_nodes(3)
    for number, zone in ((1, "a"), (2, "b"), (3, "b")):
        relabel(world, f"node{number}", zone=zone)
    preference = PlacementPreference(spread=SpreadOver(spread_descriptor="node.labels.zone"))
    spec = template(placement=Placement(preferences=[preference]))
    world.store.put(replace(world.store.nodes["node1"], spec=NodeSpec(availability="pause")))
    world.store.put(service(replicas=4, spec=spec))
    world.run(10)
    active = NodeSpec(labels={"zone": "a"})
    world.store.put(replace(world.store.nodes["node1"], spec=active))
    world.store.put(scaled(world.store.services["web"], 8))
    world.run(10)
    assert per_node(world)["node1"] == 4


def test_an_assignment_that_was_refused_takes_no_room() -> None:
    """The port is free for the task that had it in the decision which was not written."""
    for write in range(1, 5):
        world = World(refuses=write)
        world.add_nodes(1)
        world.store.put(service(replicas=1, endpoint=HOST_PORT))
        world.run(10)
        assert per_node(world) == {"node1": 1}


def test_no_node_gets_more_replicas_than_the_maximum() -> None:
    world = World()
    world.add_nodes(2)
    world.store.put(service(replicas=5, spec=template(placement=Placement(max_replicas=2))))
    world.run(10)
    assert per_node(world) == {"node1": 2, "node2": 2}
    assert errors(world) == {"no suitable node (max replicas per node limit exceed)"}


def test_platforms_are_known_by_each_of_their_names() -> None:
    world = World()
    world.add_nodes(2)
    has = world.store.nodes["node2"].description
    describe(world, "node2", replace(has, platform=Platform(architecture="aarch64", os="linux")))
    arm = [Platform(architecture="arm64", os="linux")]
    world.store.put(service(replicas=2, spec=template(placement=Placement(platforms=arm))))
    windows = [Platform(os="windows")]
    world.store.put(service("w", 1, spec=template(placement=Placement(platforms=windows))))
    world.run(10)
    assert per_node(world) == {"node2": 2}
    assert errors(world, "w") == {"no suitable node (unsupported platform on 2 nodes)"}


@pytest.mark.parametrize(
    ("driver", "nodes"),
    [("gelf", {"node1", "node3"}), ("none", {"node1", "node2", "node3"}), ("absent", {"node3"})],
)
def test_a_node_has_the_log_driver_or_has_named_none(driver: str, nodes: set[str]) -> None:
    """The third node has not told what it has."""
    world = World()
    world.add_nodes(3)
    for id, names in (("node1", ("gelf", "local")), ("node2", ("local",))):
        engine = EngineDescription(plugins=[("Log", name) for name in names])
        describe(world, id, replace(world.store.nodes[id].description, engine=engine))
    spec = replace(template(), log_driver=LogDriver(name=driver))
    world.store.put(service(replicas=6, spec=spec))
    world.run(10)
    assert set(per_node(world)) == nodes


def test_each_node_is_counted_for_the_first_thing_that_keeps_it() -> None:
    """The most frequent reason comes first, as swarm's users read it."""
    world = World()
    world.add_nodes(4)
    node = world.store.nodes["node1"]
    world.store.put(replace(node, spec=NodeSpec(availability="pause")))
    spec = template(placement=Placement(constraints=["node.labels.zone == east"]))
    world.store.put(service(spec=spec))
    world.run(10)
    assert errors(world) == {
        "no suitable node (scheduling constraints not satisfied on 3 nodes; "
        "1 node not available for new tasks)"
    }


def test_nothing_is_said_twice() -> None:
    """A task that waits costs no writes."""
    world = World()
    world.add_nodes(1)
    spec = template(placement=Placement(constraints=["node.labels.zone == east"]))
    world.store.put(service(replicas=3, spec=spec))
    world.run(10)
    before = world.transactions
    world.store.put(service("other", 2))
    world.run(100)
    written = world.transactions - before
    waiting = {t.version for t in world.tasks("web")}
    world.run(1000)
    assert {t.version for t in world.tasks("web")} == waiting
    assert world.transactions - before == written


def test_no_node_at_all() -> None:
    world = World()
    world.store.put(service())
    world.run(10)
    assert errors(world) == {"no suitable node"}
    world.add_nodes(1)
    world.run(10)
    assert per_node(world) == {"node1": 1}


def test_paused_and_drained_nodes_get_nothing_new() -> None:
    world = World()
    world.add_nodes(3)
    for id, availability in (("node1", "pause"), ("node2", "drain")):
        world.store.put(replace(world.store.nodes[id], spec=NodeSpec(availability=availability)))
    world.store.put(service(replicas=4))
    world.run(10)
    assert per_node(world) == {"node3": 4}


def test_a_node_where_a_service_keeps_failing_comes_last() -> None:
    """After five failures in five minutes others are preferred, though they carry more."""

    def life(task: Task) -> Life:
        return Life(lives_s=1) if task.node_id == "node1" else Life()

    world = World(life_of=life)
    world.add_nodes(2)
    world.store.put(service(replicas=2))
    world.run(200)
    assert per_node(world) == {"node2": 2}


def test_a_global_task_is_checked_on_its_own_node_only() -> None:
    world = World()
    world.add_nodes(2)
    world.store.put(service("filler", 2, spec=template(resources=reserving(cpus=6))))
    world.run(10)
    placed = per_node(world, "filler")
    assert placed == {"node1": 1, "node2": 1}
    world.store.put(service(mode=GLOBAL, spec=template(resources=reserving(cpus=4))))
    world.run(10)
    assert errors(world) == {"no suitable node (insufficient resources on 1 node)"}
    world.delete(world.store.services["filler"])
    world.run(10)
    assert per_node(world) == {"node1": 1, "node2": 1}
    said = {task.status.message for task in world.running("web")}
    assert said == {"running"}


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Nodes' processors, and services: replicas, processors, most on a node."""
    nodes = draw(st.lists(st.integers(0, 8), min_size=1, max_size=6))
    services = draw(
        st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4), st.integers(0, 3)), max_size=5)
    )
    return nodes, services


@settings(max_examples=80, deadline=None)
@given(clusters())
def test_no_node_is_ever_overbooked_and_nothing_waits_without_need(
    case: tuple[list[int], list[tuple[int, int, int]]],
) -> None:
    """Whatever the cluster: reservations fit, maxima hold, and who waits fits nowhere."""
    nodes, services = case
    world = World()
    for number, cpus in enumerate(nodes):
        has = Resources(nano_cpus=cpus * 10**9, memory_bytes=GB)
        described = NodeDescription(hostname=f"n{number}", resources=has)
        world.add_nodes(1, prefix=f"n{number}-", description=described)
    for number, (replicas, cpus, most) in enumerate(services):
        spec = template(placement=Placement(max_replicas=most), resources=reserving(cpus=cpus))
        world.store.put(service(f"s{number}", replicas, spec=spec))
    world.run(20)
    for node in world.store.nodes.values():
        tasks = list(world.store.tasks_of_node(node.id))
        assert sum(map(cpus_of, tasks)) <= node.description.resources.nano_cpus
        for (id, most), count in Counter((t.service_id, most_of(t)) for t in tasks).items():
            assert not most or count <= most, id
    for task in world.store.tasks.values():
        if task.status.state is TaskState.PENDING:
            assert task.status.err.startswith("no suitable node")
            assert not any(has_room(world, node, task) for node in world.store.nodes.values())


def cpus_of(task: Task) -> int:
    reserved = task.spec.resources.reservations if task.spec.resources else None
    return reserved.nano_cpus if reserved else 0


def most_of(task: Task) -> int:
    return task.spec.placement.max_replicas if task.spec.placement else 0


def has_room(world: World, node: Node, task: Task) -> bool:
    tasks = world.store.tasks_of_node(node.id)
    same = sum(other.service_id == task.service_id for other in tasks)
    free = node.description.resources.nano_cpus - sum(map(cpus_of, tasks))
    fits = not cpus_of(task) or cpus_of(task) <= free
    return fits and (not most_of(task) or same < most_of(task))
