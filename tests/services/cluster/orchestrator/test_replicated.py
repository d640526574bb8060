"""Replicated services, from the rules to running tasks, in virtual time."""

from __future__ import annotations

from collections import Counter

import pytest
from clusterlib.agents import Life
from clusterlib.build import SECOND, scaled, service, template
from clusterlib.world import World
from msgspec.structs import replace

from services.cluster.model.objects import Task
from services.cluster.model.specs import NodeSpec
from services.cluster.model.task_spec import TaskRestartPolicy
from services.cluster.model.task_state import TaskState


def small_world(nodes: int = 3, life: Life | None = None) -> World:
    world = World(life_of=lambda _: life or Life())
    world.add_nodes(nodes)
    return world


def slots(tasks: list[Task]) -> list[int]:
    return sorted(task.slot for task in tasks)


@pytest.mark.parametrize("replicas", [0, 1, 7, 130])
def test_a_new_service_gets_its_replicas(replicas: int) -> None:
    """As many tasks as asked for run, in slots from 1, spread evenly over the nodes."""
    world = small_world()
    world.store.put(service(replicas=replicas))
    world.run(30)
    running = world.running("web")
    assert slots(running) == list(range(1, replicas + 1))
    per_node = Counter(task.node_id for task in running)
    assert not per_node or max(per_node.values()) - min(per_node.values()) <= 1
    assert len(world.tasks("web")) == replicas


def test_a_service_without_a_number_has_one_replica() -> None:
    world = small_world()
    world.store.put(service(replicas=None))
    world.run(30)
    assert slots(world.running("web")) == [1]


def test_scaling_up_and_down_leaves_what_runs_alone() -> None:
    """From 1 to 30 to 3: who stays is never restarted, and the nodes stay balanced."""
    world = small_world()
    world.store.put(service(replicas=1))
    world.run(30)
    first = {task.id for task in world.running("web")}
    world.store.put(scaled(world.store.services["web"], 30))
    world.run(30)
    many = {task.id for task in world.running("web")}
    assert len(many) == 30
    assert first < many
    world.store.put(scaled(world.store.services["web"], 3))
    world.run(30)
    few = world.running("web")
    assert {task.id for task in few} < many
    assert len({task.node_id for task in few}) == 3
    assert len(world.tasks("web")) == 3, "what was scaled away is taken away once it has ended"


def test_scaling_down_takes_what_does_not_run_first() -> None:
    """A task that waits for a node goes before one that runs."""
    world = small_world(nodes=1)
    world.store.put(service(replicas=3))
    world.run(30)
    paused = replace(world.store.nodes["node1"], spec=NodeSpec(availability="pause"))
    world.store.put(paused)
    world.store.put(scaled(world.store.services["web"], 5))
    world.run(30)
    before = {task.id for task in world.running("web")}
    world.store.put(scaled(world.store.services["web"], 3))
    world.run(30)
    assert {task.id for task in world.running("web")} == before


def test_of_a_nodes_tasks_those_that_do_not_run_yet_go_first() -> None:
    """Whatever their numbers."""
    world = World(life_of=lambda task: Life(start_s=1000 if task.slot == 1 else 0.5))
    world.add_nodes(1)
    world.store.put(service(replicas=3))
    world.run(10)
    world.store.put(scaled(world.store.services["web"], 2))
    world.run(10)
    assert slots(world.running("web")) == [2, 3]


def test_a_removed_service_leaves_nothing() -> None:
    """Its tasks are asked to go, and are deleted once their agents have said that they ended."""
    world = small_world()
    world.store.put(service(replicas=5))
    world.run(30)
    world.delete(world.store.services["web"])
    world.run(0.1)
    assert {t.desired_state for t in world.tasks("web")} == {TaskState.REMOVE}
    world.run(30)
    assert world.tasks("web") == []


def test_a_failed_task_is_followed_by_another_after_the_delay() -> None:
    """The next one is made at once, and started when the policy's delay is over."""
    policy = TaskRestartPolicy(delay=3 * SECOND)
    world = small_world(life=Life(lives_s=10))
    world.store.put(service(spec=template(restart=policy)))
    world.run(11.5)
    failed, waiting = world.tasks("web")
    assert failed.status.state is TaskState.FAILED
    assert failed.desired_state is TaskState.SHUTDOWN
    assert waiting.desired_state is TaskState.READY
    assert waiting.status.state is TaskState.READY
    world.run(4)
    again = world.tasks("web")[-1]
    assert again.id == waiting.id
    assert again.status.running_at is not None
    ended_at = failed.status.timestamp
    assert ended_at is not None
    assert 3 <= (again.status.running_at - ended_at).total_seconds() < 4


def test_a_task_that_cannot_be_prepared_is_not_tried_without_a_pause() -> None:
    """An image that is not there is asked for once in each delay, not in a tight loop."""
    world = small_world(life=Life(prepare_ends=TaskState.REJECTED))
    world.store.put(service())
    world.run(60)
    tasks = world.tasks("web")
    assert 2 <= tasks[-1].restart_count <= 12


@pytest.mark.parametrize(
    ("condition", "ends", "runs"),
    [
        ("none", TaskState.FAILED, 1),
        ("on-failure", TaskState.COMPLETE, 1),
        ("on-failure", TaskState.FAILED, 3),
        ("any", TaskState.COMPLETE, 3),
        ("", TaskState.FAILED, 3),
    ],
)
def test_conditions(condition: str, ends: TaskState, runs: int) -> None:
    """Whether another follows is up to the condition; with two attempts three tasks run."""
    policy = TaskRestartPolicy(condition=condition, delay=0, max_attempts=2)
    world = small_world(life=Life(lives_s=2, ends=ends))
    world.store.put(service(spec=template(restart=policy)))
    world.run(120)
    tasks = world.tasks("web")
    assert len(tasks) == runs
    assert all(task.status.state is ends for task in tasks)
    assert all(task.desired_state is TaskState.SHUTDOWN for task in tasks)


def test_attempts_count_within_the_window_only() -> None:
    """Two attempts in ten seconds: what fails once in eight is always tried again."""
    policy = TaskRestartPolicy(delay=0, max_attempts=2, window=10 * SECOND)
    slow = small_world(life=Life(lives_s=8))
    slow.store.put(service(spec=template(restart=policy)))
    slow.run(200)
    assert slow.tasks("web")[-1].restart_count > 10
    fast = small_world(life=Life(lives_s=1))
    fast.store.put(service(spec=template(restart=policy)))
    fast.run(200)
    assert len(fast.tasks("web")) == 3


def test_attempts_are_counted_beyond_the_history_that_is_kept() -> None:
    """Eight attempts, and five tasks kept: the ninth task is the last all the same."""
    policy = TaskRestartPolicy(delay=0, max_attempts=8)
    world = small_world(life=Life(lives_s=1))
    world.store.put(service(spec=template(restart=policy)))
    world.run(300)
    tasks = world.tasks("web")
    assert len(tasks) == 5
    assert tasks[-1].restart_count == 8


def test_a_node_that_fails_is_left_after_the_grace() -> None:
    """Its tasks run elsewhere; when it is back its own are stopped, and nothing runs twice."""
    world = small_world()
    world.store.put(service(replicas=6))
    world.run(30)
    world.cut_off("node1")
    world.run(4)
    assert len(world.tasks("web")) == 6, "not before the grace is over"
    world.run(20)
    running = [task for task in world.running("web") if task.node_id != "node1"]
    assert slots(running) == [1, 2, 3, 4, 5, 6]
    world.connect("node1")
    world.run(30)
    assert slots(world.running("web")) == [1, 2, 3, 4, 5, 6]
    assert not any(task.node_id == "node1" for task in world.running("web"))


def test_a_node_that_is_back_within_the_grace_keeps_its_tasks() -> None:
    world = small_world()
    world.store.put(service(replicas=6))
    world.run(30)
    before = {task.id for task in world.running("web")}
    world.cut_off("node1")
    world.run(3)
    world.connect("node1")
    world.run(60)
    assert {task.id for task in world.running("web")} == before


def test_a_drained_node_is_left_without_a_delay() -> None:
    """Each task's successor waits until the task has stopped, and no longer."""
    world = small_world()
    world.store.put(service(replicas=6))
    world.run(30)
    drained = replace(world.store.nodes["node2"], spec=NodeSpec(availability="drain"))
    world.store.put(drained)
    world.run(3)
    running = world.running("web")
    assert slots(running) == [1, 2, 3, 4, 5, 6]
    assert not any(task.node_id == "node2" for task in running)


def test_what_does_not_stop_is_waited_for_a_minute() -> None:
    """The successor starts in the end, even if the node never says that the old task stopped."""
    world = small_world(life=Life(stop_s=10_000))
    world.store.put(service(replicas=1))
    world.run(30)
    at = world.running("web")[0].node_id
    world.store.put(replace(world.store.nodes[at], spec=NodeSpec(availability="drain")))
    world.run(58)
    assert [task for task in world.running("web") if task.node_id != at] == []
    world.run(4)
    assert slots(world.running("web")) == [1]


def test_a_node_taken_out_of_the_cluster_is_left_at_once() -> None:
    """What ran there is ORPHANED, and runs elsewhere."""
    world = small_world()
    world.store.put(service(replicas=3))
    world.run(30)
    world.cut_off("node3")
    world.delete(world.store.nodes["node3"])
    world.run(10)
    assert slots(world.running("web")) == [1, 2, 3]
    orphans = [task for task in world.tasks("web") if task.node_id == "node3"]
    assert {task.status.state for task in orphans} == {TaskState.ORPHANED}
