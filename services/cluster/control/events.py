"""What happened in the cluster, told as the engine's events (scope swarm) by every manager.

Source: moby, daemon/events.go, whose attributes these are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

import trio

from services.cluster.control.ports import ControlStore
from services.cluster.model.objects import Node, NodeState, Service, Stored
from services.cluster.model.snapshot import Diff, Snapshot
from services.cluster.model.wire import utc_now
from services.events.model import Event


class EventSink(Protocol):
    """The engine's events."""

    async def commit(self, *events: Event) -> Any:
        """Keep them and tell them."""


class ClusterEvents:
    """`run` is a manager's child."""

    def __init__(self, store: ControlStore, sink: EventSink) -> None:
        self._store, self._sink = store, sink

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell every change from now on. May be called again: what was between is not told."""
        before = self._store.snapshot()
        task_status.started()
        while True:
            diff = await self._store.changed_since(before.revision)
            after = self._store.snapshot()
            events = tuple(events_of(before, after, diff))
            if events:
                await self._sink.commit(*events)
            before = after


def events_of(before: Snapshot, after: Snapshot, diff: Diff) -> Iterator[Event]:
    """The events of a change, removals last."""
    put = _all(after) if diff.is_whole else (_find(after, one.id) for one in diff.put)
    for new in put:
        if new is None or new == (old := _find(before, new.id)):
            continue
        if old is None:
            yield _event(new, "create", new.created_at)
        elif not isinstance(new, Node) or _is_worth_telling(old, new):
            yield _event(new, "update", new.updated_at, _changes(old, new))
    gone = _all(before) if diff.is_whole else (_find(before, one.id) for one in diff.deleted)
    for old in gone:
        if old is not None and _find(after, old.id) is None:
            yield _event(old, "remove", utc_now())


def _maps(snapshot: Snapshot) -> tuple[Mapping[str, Stored], ...]:
    """What is told of. Ids are unique over all kinds."""
    return (
        snapshot.nodes, snapshot.services, snapshot.networks, snapshot.secrets, snapshot.configs,
    )  # fmt: skip


def _find(snapshot: Snapshot, id_: str) -> Stored | None:
    return next((found for one in _maps(snapshot) if (found := one.get(id_))), None)


def _all(snapshot: Snapshot) -> Iterator[Stored]:
    return (one for objects in _maps(snapshot) for one in objects.values())


def _event(
    one: Stored, action: str, at: datetime, attributes: Mapping[str, str] | None = None
) -> Event:
    return Event(
        type=one.kind,
        action=action,
        actor_id=one.id,
        attributes={"name": one.name, **(attributes or {})},
        time_ns=int(at.timestamp() * 1e6) * 1000,
        scope="swarm",
    )


def _changes(old: Stored, new: Stored) -> Mapping[str, str]:
    if isinstance(old, Node) and isinstance(new, Node):
        return dict(_node_changes(old, new))
    if isinstance(old, Service) and isinstance(new, Service):
        return dict(_service_changes(old, new))
    return {}


def _is_worth_telling(old: Stored, new: Node) -> bool:
    """An agent that registers anew touches its node; clients hear of what they can see."""
    if not isinstance(old, Node):
        return True
    return (old.spec, old.role, old.status.state) != (new.spec, new.role, new.status.state)


def _node_changes(old: Node, new: Node) -> Iterator[tuple[str, str]]:
    yield from _pair("availability", old.spec.availability, new.spec.availability)
    yield from _pair("role", old.role, new.role)
    yield from _pair("state", old.status.state.name.lower(), new.status.state.name.lower())
    if old.manager is not None and new.manager is not None:
        yield from _pair("reachability", reachability_of(old), reachability_of(new))


def _service_changes(old: Service, new: Service) -> Iterator[tuple[str, str]]:
    yield from _pair("image", _image(old), _image(new))
    before, after = old.spec.mode.replicated, new.spec.mode.replicated
    if before is not None and after is not None:
        yield from _pair("replicas", str(before.replicas or 0), str(after.replicas or 0))
    if new.update_status is not None:
        was = old.update_status.state if old.update_status else ""
        if was != new.update_status.state:
            yield "updatestate.new", new.update_status.state
            if was:
                yield "updatestate.old", was


def reachability_of(node: Node) -> str:
    """The API's word for a manager, by its agent: what else says that it is there has no revision
    in which it changes."""
    is_heard_of = node.status.state in (NodeState.READY, NodeState.UNKNOWN)
    return "reachable" if is_heard_of else "unreachable"


def _image(service: Service) -> str:
    container = service.spec.task_template.container_spec
    return container.image if container else ""


def _pair(name: str, old: str, new: str) -> Iterator[tuple[str, str]]:
    if old != new:
        yield f"{name}.old", old
        yield f"{name}.new", new
