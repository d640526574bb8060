"""What is written of nodes' reports."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from services.cluster.dispatcher.statuses import merged, status_transactions
from services.cluster.dispatcher.values import TaskUpdate
from services.cluster.model.objects import TaskStatus
from services.cluster.model.task_state import TaskState
from tests.support.cluster_objects import NOW, a_cluster, a_task
from tests.support.memory_store import MemoryStore

LATER = NOW + timedelta(seconds=5)


@pytest.mark.parametrize("before", list(TaskState))
@pytest.mark.parametrize("after", list(TaskState))
def test_states_go_forward_and_an_end_is_final(before: TaskState, after: TaskState) -> None:
    """Every pair."""
    result = merged(a_task("t", state=before), TaskStatus(state=after, timestamp=LATER))
    if after < before or (before.is_ended and after != before):
        assert result is None
    else:
        assert result is not None
        assert result.state == after


def test_when_a_task_first_ran_is_kept() -> None:
    """It is set by the first report that it runs, and stays when it ends."""
    task = a_task("t", state=TaskState.STARTING)
    running = merged(task, TaskStatus(state=TaskState.RUNNING, timestamp=LATER))
    assert running is not None
    assert running.running_at == LATER
    ran = msgspec.structs.replace(task, status=running)
    failed = merged(ran, TaskStatus(state=TaskState.FAILED, timestamp=LATER + timedelta(seconds=1)))
    assert failed is not None
    assert failed.running_at == LATER


def test_a_node_writes_of_its_own_tasks_only() -> None:
    """Reports of other nodes' tasks, and of none, are passed over."""
    snapshot = MemoryStore([a_cluster(), a_task("mine", node="n1"), a_task("theirs", node="n2")])
    updates = [
        TaskUpdate(task_id=id, status=TaskStatus(state=TaskState.FAILED))
        for id in ("mine", "theirs", "gone")
    ]
    (transaction,) = status_transactions(
        snapshot.snapshot(), [("n1", update) for update in updates], NOW
    )
    assert [change.object.id for change in transaction.changes] == ["mine"]


def test_the_last_report_of_a_task_is_written_once() -> None:
    """Several reports of one batch make one write."""
    store = MemoryStore([a_cluster(), a_task("t", node="n1")])
    reports = [
        ("n1", TaskUpdate(task_id="t", status=TaskStatus(state=state)))
        for state in (TaskState.ACCEPTED, TaskState.PREPARING, TaskState.ACCEPTED)
    ]
    (transaction,) = status_transactions(store.snapshot(), reports, NOW)
    (change,) = transaction.changes
    assert getattr(change.object, "status").state == TaskState.PREPARING  # noqa: B009
