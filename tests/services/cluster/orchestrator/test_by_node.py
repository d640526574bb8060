"""Global services."""

from __future__ import annotations

import pytest
from clusterlib.agents import Life
from clusterlib.build import GLOBAL, service, template, updated
from clusterlib.world import World
from msgspec.structs import replace

from services.cluster.model.specs import NodeSpec
from services.cluster.model.task_spec import Placement, TaskRestartPolicy
from services.cluster.model.task_state import TaskState


def where(world: World) -> list[str]:
    return sorted(task.node_id for task in world.running("web"))


def everywhere(life: Life | None = None, **fields: object) -> World:
    world = World(life_of=lambda _: life or Life())
    world.add_nodes(3)
    world.store.put(service(mode=GLOBAL, **fields))  # type: ignore[arg-type]
    world.run(20)
    return world


def test_each_node_gets_one_task_and_those_that_join_later_too() -> None:
    world = everywhere()
    assert where(world) == ["node1", "node2", "node3"]
    assert all(task.slot == 0 for task in world.running("web"))
    world.add_nodes(2, prefix="late")
    world.run(20)
    assert where(world) == ["late1", "late2", "node1", "node2", "node3"]
    assert len(world.tasks("web")) == 5


@pytest.mark.parametrize("availability", ["pause", "drain"])
def test_availability(availability: str) -> None:
    """A paused node keeps its task, a drained one does not; both get one again when active."""
    world = everywhere()
    node = world.store.nodes["node1"]
    world.store.put(replace(node, spec=NodeSpec(availability=availability)))
    world.run(20)
    kept = ["node1"] if availability == "pause" else []
    assert where(world) == [*kept, "node2", "node3"]
    world.store.put(replace(world.store.nodes["node1"], spec=NodeSpec()))
    world.run(20)
    assert where(world) == ["node1", "node2", "node3"]


def test_what_ends_on_a_paused_node_is_restarted_when_it_is_active() -> None:
    world = everywhere(life=Life(lives_s=30))
    world.store.put(replace(world.store.nodes["node1"], spec=NodeSpec(availability="pause")))
    world.run(20)
    assert where(world) == ["node2", "node3"]
    world.store.put(replace(world.store.nodes["node1"], spec=NodeSpec()))
    world.run(10)
    assert where(world) == ["node1", "node2", "node3"]


def test_a_node_that_is_lost_and_back_has_one_task() -> None:
    world = everywhere()
    world.cut_off("node2")
    world.run(30)
    world.connect("node2")
    world.run(30)
    assert where(world) == ["node1", "node2", "node3"]


def test_labels_say_where_it_runs() -> None:
    """Losing the label ends the task, having it again begins another."""
    placement = Placement(constraints=["node.labels.on == yes"])
    world = everywhere(spec=template(placement=placement))
    assert where(world) == []
    for labels, nodes in (({"on": "yes"}, ["node3"]), ({}, []), ({"on": "yes"}, ["node3"])):
        world.store.put(replace(world.store.nodes["node3"], spec=NodeSpec(labels=labels)))
        world.run(20)
        assert where(world) == nodes


def test_other_constraints_move_it() -> None:
    world = everywhere()
    before = world.store.services["web"]
    placement = Placement(constraints=["node.hostname != node2"])
    spec = replace(before.spec.task_template, placement=placement)
    kept = {t.id for t in world.running("web") if t.node_id != "node2"}
    world.store.put(updated(before, replace(before.spec, task_template=spec)))
    world.run(60)
    assert where(world) == ["node1", "node3"]
    assert {task.id for task in world.running("web")} == kept


def test_what_has_run_to_its_end_is_not_begun_anew() -> None:
    policy = TaskRestartPolicy(condition="on-failure")
    ends = Life(lives_s=1, ends=TaskState.COMPLETE)
    world = everywhere(life=ends, spec=template(restart=policy))
    world.run(100)
    assert len(world.tasks("web")) == 3
    assert {task.status.state for task in world.tasks("web")} == {TaskState.COMPLETE}


def test_a_node_taken_away_takes_its_tasks_along() -> None:
    world = everywhere()
    world.cut_off("node3")
    world.delete(world.store.nodes["node3"])
    world.run(20)
    assert {task.node_id for task in world.tasks("web")} == {"node1", "node2"}
