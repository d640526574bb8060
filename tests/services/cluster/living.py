"""A cluster in memory that lives: the leader's rules run, and agents that run nothing report."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
from msgspec.structs import replace

from services.cluster.leader.rule_loop import RuleLoop
from services.cluster.model.objects import Session, Stored, Task, TaskStatus
from services.cluster.model.snapshot import Put, Transaction
from services.cluster.model.task_state import TaskState
from services.cluster.model.wire import utc_now
from services.cluster.orchestrator.rules import leader_rules
from services.errors import Conflict
from tests.services.cluster.face import Manager
from tests.services.cluster.objects import AT, network, node
from tests.support.memory_store import MemoryStore


@asynccontextmanager
async def living_manager(*objects: Stored) -> AsyncIterator[Manager]:
    """A manager `m1` with a worker `w1`, the ingress network, and a leader at work."""
    nodes = [node("m1", manager=True), node("w1")]
    sessions = [Session(id=one.id, **AT) for one in nodes]
    ingress = replace(network("ingress", ingress=True), subnets=[])
    manager = Manager(*nodes, *sessions, ingress, *objects)
    async with trio.open_nursery() as nursery:
        for name in leader_rules():
            loop = RuleLoop(name, partial(_rule, name), manager.store)  # type: ignore[arg-type]
            nursery.start_soon(loop.run)
        nursery.start_soon(run_agents, manager.store)
        yield manager
        nursery.cancel_scope.cancel()


def _rule(name: str) -> object:
    return leader_rules()[name]


async def run_agents(store: MemoryStore) -> None:
    """Each task is at once as far as it is asked to be. One of the image `fails` fails."""
    while True:
        snapshot = store.snapshot()
        for task in snapshot.tasks.values():
            state = next_state(task)
            if state is not None:
                status = TaskStatus(
                    state=state,
                    timestamp=utc_now(),
                    running_at=utc_now() if state is TaskState.RUNNING else None,
                    message=state.wire,
                    err="task: non-zero exit (1)" if state is TaskState.FAILED else "",
                )
                try:
                    await store.commit(Transaction((Put(replace(task, status=status)),)))
                except Conflict:
                    break  # the leader was quicker; there is a newer snapshot
        await store.changed_since(snapshot.revision)


def next_state(task: Task) -> TaskState | None:
    """What an agent has to report now."""
    state, desired = task.status.state, task.desired_state
    if state < TaskState.ASSIGNED or state.is_ended:
        return None
    if desired >= TaskState.SHUTDOWN:
        return TaskState.SHUTDOWN
    if state is TaskState.RUNNING:
        return TaskState.COMPLETE if desired is TaskState.COMPLETE else None
    if not desired.is_to_run:
        return TaskState.READY if state is not TaskState.READY else None
    container = task.spec.container_spec
    fails = container is not None and container.image.startswith("fails")
    return TaskState.FAILED if fails else TaskState.RUNNING
