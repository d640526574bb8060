"""The cluster's tasks as its users see them.

Source: moby, daemon/cluster/tasks.go; swarmkit, manager/controlapi/task.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.cluster.control.filters import Filters, begins, check_known, has_labels
from services.cluster.control.find import find
from services.cluster.control.nodes import find_node
from services.cluster.control.ports import ControlStore
from services.cluster.model.networks_of_tasks import network_of
from services.cluster.model.objects import ClusterNetwork, Task
from services.cluster.model.snapshot import Snapshot
from services.cluster.model.task_state import BY_WORD, TaskState
from services.cluster.orchestrator.tasks import is_outdated
from services.errors import InvalidParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTask:
    """A task, and the networks that it is in, as far as they still are."""

    task: Task
    networks: tuple[ClusterNetwork, ...]


class Tasks:
    """Looks at tasks. Nobody changes them by hand."""

    def __init__(self, store: ControlStore) -> None:
        self._store = store

    def list(self, filters: Filters) -> Sequence[SeenTask]:
        """Those that all filters let pass, newest first in no other order that matters.

        Raises:
            InvalidParameter: an unknown filter, or a state that is none.
            NotFound: a service or a node that is none.
        """
        check_known(
            filters, "name", "id", "label", "service", "node", "desired-state", "_up-to-date",
            "runtime",
        )  # fmt: skip
        snapshot = self._store.snapshot()
        services = {
            find("service", snapshot.services, ref).id for ref in filters.get("service", ())
        }
        nodes = {find_node(snapshot, ref).id for ref in filters.get("node", ())}
        states = _states(filters.get("desired-state", ()))
        runtimes = filters.get("runtime", ()) or ("container", "")
        names, ids = filters.get("name", ()), filters.get("id", ())
        labels = filters.get("label", ())
        chosen = [
            task
            for task in _candidates(snapshot, services, nodes)
            if (not nodes or task.node_id in nodes)
            and (not states or task.desired_state in states)
            and begins(task.name, names)
            and begins(task.id, ids)
            and has_labels(task.service_labels, labels)
            and runtime_of(task) in runtimes
        ]
        if filters.get("_up-to-date"):
            chosen = [task for task in chosen if is_up_to_date(task, snapshot)]
        return [seen_task(task, snapshot) for task in chosen]

    def get(self, ref: str) -> SeenTask:
        """By id, name or beginning of its id.

        Raises:
            NotFound: there is none.
            InvalidParameter: several are meant.
        """
        snapshot = self._store.snapshot()
        return seen_task(find("task", snapshot.tasks, ref), snapshot)


def seen_task(task: Task, snapshot: Snapshot) -> SeenTask:
    """A task with what else is to be told of it."""
    networks = (network_of(one.network_id, snapshot) for one in task.networks)
    return SeenTask(task=task, networks=tuple(one for one in networks if one is not None))


def runtime_of(task: Task) -> str:
    """What kind of thing it runs."""
    if task.spec.network_attachment_spec is not None:
        return "attachment"
    return task.spec.runtime or "container"


def is_up_to_date(task: Task, snapshot: Snapshot) -> bool:
    """Whether the task is as its service's spec is now."""
    service = snapshot.services.get(task.service_id)
    node = snapshot.nodes.get(task.node_id)
    return service is not None and not is_outdated(service, task, node)


def _candidates(snapshot: Snapshot, services: set[str], nodes: set[str]) -> list[Task]:
    """By the smallest index that there is."""
    if services:
        return [task for id_ in services for task in snapshot.tasks_of_service(id_)]
    if nodes:
        return [task for id_ in nodes for task in snapshot.tasks_of_node(id_)]
    return list(snapshot.tasks.values())


def _states(words: Sequence[str]) -> set[TaskState]:
    for word in words:
        if word and word.lower() not in BY_WORD:
            raise InvalidParameter(f"Invalid desired-state filter: '{word}'")
    return {BY_WORD[word.lower()] for word in words if word}
