"""Jobs of both kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clusterlib.agents import Life
from clusterlib.build import GLOBAL_JOB, SECOND, job, service, template, updated
from clusterlib.world import World
from msgspec.structs import replace

from services.cluster.model.objects import Task
from services.cluster.model.task_spec import TaskRestartPolicy
from services.cluster.model.task_state import TaskState

WELL = Life(lives_s=3, ends=TaskState.COMPLETE)
BADLY = Life(lives_s=3, ends=TaskState.FAILED)


class Most:
    """The most tasks that ran at once."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, world: World) -> None:
        alive = [t for t in world.tasks("web") if t.desired_state <= TaskState.COMPLETE]
        self.count = max(self.count, sum(not t.status.state.is_ended for t in alive))


def run_job(
    life_of: Callable[[Task], Life], observe: Most | None = None, **fields: object
) -> World:
    world = World(life_of=life_of, observe=observe)
    world.add_nodes(3)
    world.store.put(service(**fields))  # type: ignore[arg-type]
    world.run(200)
    return world


def complete(world: World) -> list[int]:
    return sorted(t.slot for t in world.tasks("web") if t.status.state is TaskState.COMPLETE)


@pytest.mark.parametrize(
    ("concurrent", "total", "runs", "at_once"),
    [
        (None, None, 1, 1),
        (2, 7, 7, 2),
        (4, None, 4, 4),
        (5, 2, 2, 2),
        (None, 3, 3, 1),
        (3, 0, 0, 0),
    ],
)
def test_so_many_end_well_and_so_many_run_at_once(
    concurrent: int | None, total: int | None, runs: int, at_once: int
) -> None:
    most = Most()
    world = run_job(lambda _: WELL, most, mode=job(concurrent, total))
    assert complete(world) == list(range(runs))
    assert len(world.tasks("web")) == runs
    assert most.count == at_once
    assert {task.desired_state for task in world.tasks("web")} <= {TaskState.COMPLETE}


def test_what_fails_is_tried_again_in_its_slot() -> None:
    """Each slot ends well once; the failures before are history."""
    policy = TaskRestartPolicy(condition="on-failure", delay=SECOND)
    world = run_job(
        lambda t: WELL if t.restart_count == 2 else BADLY,
        mode=job(2, 4),
        spec=template(restart=policy),
    )
    assert complete(world) == [0, 1, 2, 3]
    assert len(world.tasks("web")) == 12


def test_a_slot_whose_attempts_are_used_up_stays_failed() -> None:
    """The others still run to their end."""
    policy = TaskRestartPolicy(condition="on-failure", delay=0, max_attempts=1)
    world = run_job(
        lambda t: BADLY if t.slot == 1 else WELL, mode=job(1, 3), spec=template(restart=policy)
    )
    assert complete(world) == [0, 2]
    assert sum(task.slot == 1 for task in world.tasks("web")) == 2


def test_an_update_begins_a_new_iteration() -> None:
    """What is left of the former one goes, and all is done again."""
    world = run_job(lambda _: WELL, mode=job(2, 3))
    before = {task.id for task in world.tasks("web")}
    service_before = world.store.services["web"]
    world.store.put(updated(service_before, service_before.spec))
    world.run(200)
    after = world.tasks("web")
    assert before.isdisjoint(task.id for task in after)
    assert complete(world) == [0, 1, 2]
    assert {task.job_iteration for task in after} == {1}


def test_a_global_job_runs_once_on_each_node() -> None:
    """On those that join later too; and never again on one that has done it."""
    world = run_job(lambda _: WELL, mode=GLOBAL_JOB)
    world.add_nodes(1, prefix="late")
    world.run(100)
    assert sorted(task.node_id for task in world.tasks("web")) == [
        "late1", "node1", "node2", "node3",
    ]  # fmt: skip
    assert {task.status.state for task in world.tasks("web")} == {TaskState.COMPLETE}
    service_before = world.store.services["web"]
    world.store.put(updated(service_before, service_before.spec))
    world.run(100)
    done = [task for task in world.tasks("web") if task.status.state is TaskState.COMPLETE]
    assert len(done) == 4
    assert {task.job_iteration for task in done} == {1}


def test_a_job_on_a_node_that_fails_goes_on_elsewhere() -> None:
    world = World(life_of=lambda _: Life(lives_s=30, ends=TaskState.COMPLETE))
    world.add_nodes(2)
    world.store.put(service(mode=job(2, 2)))
    world.run(10)
    world.cut_off("node1")
    world.run(100)
    assert complete(world) == [0, 1]


@pytest.mark.parametrize("meanwhile", [None, TaskState.COMPLETE, TaskState.FAILED])
def test_a_global_job_that_its_node_was_lost_under_runs_there_again(
    meanwhile: TaskState | None,
) -> None:
    """Once the node is back; not if it says that the job came to an end there, well or badly."""
    world = World(life_of=lambda _: Life(lives_s=60, ends=TaskState.COMPLETE))
    world.add_nodes(2)
    world.store.put(service(mode=GLOBAL_JOB))
    world.run(10)
    world.cut_off("node1")
    world.run(40)
    if meanwhile is not None:
        (task,) = (task for task in world.tasks("web") if task.node_id == "node1")
        world.store.put(replace(task, status=replace(task.status, state=meanwhile)))
    world.connect("node1")
    world.run(200)
    ends = sorted((task.node_id, task.status.state.name) for task in world.tasks("web"))
    if meanwhile is None:
        assert ends == [("node1", "COMPLETE"), ("node1", "SHUTDOWN"), ("node2", "COMPLETE")]
    else:
        assert ends == [("node1", meanwhile.name), ("node2", "COMPLETE")]
