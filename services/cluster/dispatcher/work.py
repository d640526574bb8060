"""What a node has to do, and how that differs from what it was told before; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from services.cluster.dispatcher.network_index import NetworkIndex
from services.cluster.dispatcher.values import Assignments, NetworkView
from services.cluster.model.objects import Config, NetworkKey, Secret, Task
from services.cluster.model.snapshot import Snapshot
from services.cluster.model.task_state import TaskState
from services.networks.overlay.values import wants_encryption

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A node's tasks, and what they need; by id."""

    tasks: Mapping[str, Task] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    configs: Mapping[str, Config] = field(default_factory=dict)
    networks: Mapping[str, NetworkView] = field(default_factory=dict)
    network_keys: tuple[NetworkKey, ...] = ()


def work_of(node_id: str, snapshot: Snapshot, index: NetworkIndex) -> Work:
    """All that a node may see. A task that has ended needs nothing more, but is the node's until it
    is deleted: its container stays for who wants to look at it."""
    tasks = {
        task.id: task
        for task in snapshot.tasks_of_node(node_id)
        if task.status.state >= TaskState.ASSIGNED
    }
    live = [task for task in tasks.values() if not task.status.state.is_ended]
    networks = _views(live, index)
    return Work(
        tasks=tasks,
        secrets=_found(_secret_ids(live), snapshot.secrets),
        configs=_found(_config_ids(live), snapshot.configs),
        networks=networks,
        network_keys=_network_keys(networks.values(), snapshot),
    )


def difference(before: Work, after: Work) -> Assignments | None:
    """What to tell a node that knows `before`; None for nothing."""
    told = Assignments(
        tasks=tuple(
            task for id, task in after.tasks.items() if not _is_same(before.tasks.get(id), task)
        ),
        secrets=_changed(before.secrets, after.secrets),
        configs=_changed(before.configs, after.configs),
        networks=tuple(
            # One that has not changed is the same object: see `NetworkIndex`.
            view
            for id, view in after.networks.items()
            if view is not before.networks.get(id)
        ),
        removed_tasks=_gone(before.tasks, after.tasks),
        removed_secrets=_gone(before.secrets, after.secrets),
        removed_configs=_gone(before.configs, after.configs),
        removed_networks=_gone(before.networks, after.networks),
        network_keys=None if before.network_keys == after.network_keys else after.network_keys,
    )
    return None if told == Assignments() else told


def complete(work: Work) -> Assignments:
    """Everything, to a node of which nothing is known."""
    return Assignments(
        is_complete=True,
        tasks=tuple(work.tasks.values()),
        secrets=tuple(work.secrets.values()),
        configs=tuple(work.configs.values()),
        networks=tuple(work.networks.values()),
        network_keys=work.network_keys,
    )


def _is_same(before: Task | None, after: Task) -> bool:
    """Whether a node need not hear of a task again: its status came from the node itself."""
    if before is after:
        return True
    return before is not None and (
        before.desired_state == after.desired_state
        and before.spec == after.spec
        and before.networks == after.networks
        and before.endpoint == after.endpoint
        and before.start_after == after.start_after
        and before.generic_resources == after.generic_resources
        and before.service_name == after.service_name
        and before.service_labels == after.service_labels
    )


def _secret_ids(tasks: Iterable[Task]) -> Iterator[str]:
    for task in tasks:
        if task.spec.container_spec is not None:
            yield from (ref.secret_id for ref in task.spec.container_spec.secrets)


def _config_ids(tasks: Iterable[Task]) -> Iterator[str]:
    for task in tasks:
        if task.spec.container_spec is not None:
            yield from (ref.config_id for ref in task.spec.container_spec.configs)


def _views(tasks: Iterable[Task], index: NetworkIndex) -> dict[str, NetworkView]:
    wanted = {place.network_id for task in tasks for place in task.networks}
    if index.ingress is not None:  # every node answers on published ports
        wanted.add(index.ingress)
    views = ((id, index.view(id)) for id in sorted(wanted))
    return {id: view for id, view in views if view is not None}


def _network_keys(views: Iterable[NetworkView], snapshot: Snapshot) -> tuple[NetworkKey, ...]:
    if any(wants_encryption(view.network.spec.options) for view in views):
        return tuple(snapshot.cluster.network_keys)
    return ()


def _found(ids: Iterable[str], objects: Mapping[str, T]) -> dict[str, T]:
    return {id: objects[id] for id in ids if id in objects}


def _changed(before: Mapping[str, T], after: Mapping[str, T]) -> tuple[T, ...]:
    return tuple(
        value
        for id, value in after.items()
        if before.get(id) is not value and before.get(id) != value
    )


def _gone(before: Mapping[str, T], after: Mapping[str, T]) -> tuple[str, ...]:
    return tuple(id for id in before if id not in after)
