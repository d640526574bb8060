"""What goes, and what stays for people to look at."""

from __future__ import annotations

from datetime import timedelta

import pytest
from clusterlib.agents import Life
from clusterlib.build import GLOBAL, service, template
from clusterlib.world import BEGINNING, World
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.cluster.model.objects import Task, TaskStatus, UpdateStatus
from services.cluster.model.swarm_spec import Orchestration, SwarmSpec
from services.cluster.model.task_spec import Placement, TaskRestartPolicy
from services.cluster.model.task_state import TaskState
from services.cluster.orchestrator.reaper import KEPT_IN_UPDATE, is_done_with, surplus


def keep(world: World, limit: int) -> None:
    spec = SwarmSpec(orchestration=Orchestration(task_history_retention_limit=limit))
    world.store.put(replace(world.store.cluster, spec=spec))


@pytest.mark.parametrize(("limit", "kept"), [(5, 5), (1, 1), (0, 1), (-1, 11)])
def test_so_many_are_kept_of_each_slot(limit: int, kept: int) -> None:
    """What runs counts, and what runs is never taken away; a negative limit keeps all."""
    policy = TaskRestartPolicy(delay=0, max_attempts=10)
    for fields in ({"replicas": 2}, {"mode": GLOBAL}):
        world = World(life_of=lambda _: Life(lives_s=1))
        world.add_nodes(2)
        keep(world, limit)
        world.store.put(service(spec=template(restart=policy), **fields))
        world.run(300)
        tasks = world.tasks("web")
        assert len(tasks) == 2 * kept
        assert max(task.restart_count for task in tasks) == 10


def test_a_smaller_limit_takes_effect_at_once() -> None:
    policy = TaskRestartPolicy(delay=0, max_attempts=10)
    world = World(life_of=lambda _: Life(lives_s=1))
    world.add_nodes(1)
    world.store.put(service(spec=template(restart=policy)))
    world.run(300)
    keep(world, 2)
    world.run(1)
    assert [task.restart_count for task in world.tasks("web")] == [9, 10]


def test_what_no_agent_ever_had_goes_with_its_service() -> None:
    """Nobody would say that it has ended."""
    world = World()
    world.add_nodes(1)
    placement = Placement(constraints=["node.id == nowhere"])
    world.store.put(service(replicas=3, spec=template(placement=placement)))
    world.run(10)
    assert len(world.tasks("web")) == 3
    world.delete(world.store.services["web"])
    world.run(10)
    assert world.tasks("web") == []


def test_tasks_of_a_node_that_is_down_for_a_day_have_ended() -> None:
    """Not a minute earlier: until then they may be running."""
    world = World()
    world.add_nodes(2)
    world.store.put(service(replicas=2))
    world.run(20)
    world.cut_off("node1")
    world.run(86_300)
    [left] = [task for task in world.tasks("web") if task.node_id == "node1"]
    assert left.status.state is TaskState.RUNNING
    world.run(200)
    [left] = [task for task in world.tasks("web") if task.node_id == "node1"]
    assert left.status.state is TaskState.ORPHANED
    world.delete(world.store.services["web"])
    world.run(10)
    assert world.tasks("web") == []


def task(
    state: TaskState, desired: TaskState, age: int = 0, service_id: str = "web", version: int = 1
) -> Task:
    at = BEGINNING - timedelta(seconds=age)
    status = TaskStatus(state=state, timestamp=at)
    return Task(
        id=f"{age}", created_at=at, updated_at=at, service_id=service_id, status=status,
        desired_state=desired, spec_version=version,
    )  # fmt: skip


@given(st.sampled_from(TaskState), st.sampled_from(TaskState), st.sampled_from(["", "web"]))
def test_what_may_run_is_never_done_with(
    state: TaskState, desired: TaskState, service_id: str
) -> None:
    """A task with an agent stays until the agent says that it has ended."""
    done = is_done_with(task(state, desired, service_id=service_id))
    if TaskState.ASSIGNED <= state <= TaskState.RUNNING or desired <= TaskState.COMPLETE:
        assert not done or (state.is_ended and not service_id)


@given(
    st.lists(st.tuples(st.sampled_from(TaskState), st.sampled_from(TaskState)), max_size=12),
    st.integers(-1, 6),
    st.booleans(),
)
def test_history_is_the_youngest_that_ended(
    states: list[tuple[TaskState, TaskState]], limit: int, is_updated: bool
) -> None:
    tasks = [task(state, desired, age) for age, (state, desired) in enumerate(states)]
    status = UpdateStatus(state="updating") if is_updated else None
    gone = surplus(tasks, replace(service(), update_status=status), limit)
    kept = [one for one in tasks if one not in gone]
    assert all(one.status.state.is_ended and one.desired_state > TaskState.COMPLETE for one in gone)
    if limit >= 0:
        bound = max(limit, KEPT_IN_UPDATE) if is_updated else limit
        ended = [one for one in kept if one.status.state.is_ended]
        stays = sum(one.desired_state <= TaskState.COMPLETE for one in ended)
        assert len(kept) <= max(bound, len(kept) - len(ended) + stays, 1)
        others = [
            t for t in kept if t.status.state.is_ended and t.desired_state > TaskState.COMPLETE
        ]
        assert all(int(g.id) > int(k.id) for g in gone for k in others), "the oldest go first"
    else:
        assert gone == []
