"""Which nodes are up, and what their changes do to their tasks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from clusterlib.build import service, template
from clusterlib.world import BEGINNING, World, node
from msgspec.structs import replace

from services.cluster.model.objects import NodeState, NodeStatus
from services.cluster.model.specs import NodeSpec
from services.cluster.model.task_spec import Placement, ResourceRequirements, Resources
from services.cluster.model.task_state import TaskState
from services.cluster.orchestrator.standing import DOWN_GRACE, Standing, standing


def test_a_node_is_up_while_it_has_a_session() -> None:
    world = World()
    world.add_nodes(2)
    world.run(1)
    assert world.store.nodes["node1"].status.state is NodeState.READY
    world.cut_off("node1")
    world.run(1)
    status = world.store.nodes["node1"].status
    assert (status.state, status.message) == (NodeState.DOWN, "heartbeat failure")
    assert status.since == BEGINNING + timedelta(seconds=1)
    assert world.store.nodes["node2"].status.state is NodeState.READY
    world.connect("node1")
    world.run(1)
    assert world.store.nodes["node1"].status.state is NodeState.READY
    assert world.notes == ["node node1 is down", "node node1 is ready"]


def test_a_node_that_joins_has_time_to_be_heard_of() -> None:
    world = World()
    world.store.put(node("late", world.now, status=NodeStatus()))
    seen = []
    for _ in range(2):
        world.run(29)
        seen.append(world.store.nodes["late"].status.state)
    assert seen == [NodeState.UNKNOWN, NodeState.DOWN]


@pytest.mark.parametrize("availability", ["active", "pause", "drain"])
def test_standing(availability: str) -> None:
    """Every availability, up, freshly down and down for long."""
    up = node("n", BEGINNING, spec=NodeSpec(availability=availability))
    down = replace(up, status=NodeStatus(state=NodeState.DOWN, since=BEGINNING))
    names = {"active": Standing.GOOD, "pause": Standing.PAUSED, "drain": Standing.DRAINED}
    assert standing(up, BEGINNING) == (names[availability], None)
    doubt = Standing.DRAINED if availability == "drain" else Standing.DOUBTFUL
    assert standing(down, BEGINNING) == (doubt, BEGINNING + DOWN_GRACE)
    assert standing(down, BEGINNING + DOWN_GRACE) == (Standing.LOST, None)
    assert standing(None, BEGINNING) == (Standing.LOST, None)


def test_tasks_that_a_node_no_longer_suits_go_elsewhere() -> None:
    """A label that is taken away is as good as a constraint that was never met."""
    world = World()
    world.add_nodes(2)
    labels = NodeSpec(labels={"ssd": "yes"})
    world.store.put(replace(world.store.nodes["node1"], spec=labels))
    spec = template(placement=Placement(constraints=["node.labels.ssd == yes"]))
    world.store.put(service(replicas=2, spec=spec))
    world.run(10)
    assert {task.node_id for task in world.running("web")} == {"node1"}
    world.store.put(replace(world.store.nodes["node1"], spec=NodeSpec()))
    world.store.put(replace(world.store.nodes["node2"], spec=labels))
    world.run(20)
    assert [task.node_id for task in world.running("web")] == ["node2", "node2"]
    rejected = [task for task in world.tasks("web") if task.node_id == "node1"]
    assert {(t.status.state, t.status.err) for t in rejected} == {
        (TaskState.REJECTED, "assigned node no longer meets constraints")
    }


def test_a_node_that_shrinks_keeps_its_oldest_tasks() -> None:
    world = World()
    world.add_nodes(1)
    reserved = ResourceRequirements(reservations=Resources(nano_cpus=2 * 10**9))
    world.store.put(service("old", 2, spec=template(resources=reserved)))
    world.run(10)
    world.store.put(service("new", 2, spec=template(resources=reserved), at=world.now))
    world.run(10)
    has = world.store.nodes["node1"]
    smaller = replace(has.description, resources=Resources(nano_cpus=5 * 10**9))
    world.store.put(replace(has, description=smaller))
    world.run(20)
    assert len(world.running("old")) == 2
    assert world.running("new") == []


def test_paused_nodes_keep_even_what_does_not_suit() -> None:
    world = World()
    world.add_nodes(1)
    world.store.put(replace(world.store.nodes["node1"], spec=NodeSpec(labels={"a": "b"})))
    spec = template(placement=Placement(constraints=["node.labels.a == b"]))
    world.store.put(service(spec=spec))
    world.run(10)
    paused = NodeSpec(availability="pause")
    world.store.put(replace(world.store.nodes["node1"], spec=paused))
    world.run(20)
    assert len(world.running("web")) == 1
