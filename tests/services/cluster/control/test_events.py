"""What clients hear of changes in the cluster."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing
from msgspec.structs import replace

from services.cluster.control.events import ClusterEvents, events_of
from services.cluster.model.objects import NodeState, NodeStatus, Stored, UpdateStatus
from services.cluster.model.snapshot import Delete, Diff, Transaction
from services.cluster.model.specs import NodeSpec, Replicated, ServiceMode
from services.events.model import Event
from tests.services.cluster.objects import (
    config,
    container_spec,
    network,
    node,
    secret,
    service,
    service_spec,
    store_of,
    task,
)


class Sink:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def commit(self, *events: Event) -> Any:
        self.events += events


def told(before: Stored, after: Stored) -> list[Event]:
    """The events of one object's change."""
    store = store_of(before)
    old = store.snapshot()
    store.put(after)
    return list(events_of(old, store.snapshot(), Diff(put=(after,))))


async def test_objects_come_change_and_go() -> None:
    """In the swarm's scope, by name; of tasks nothing is told."""
    store, sink = store_of(), Sink()
    async with trio.open_nursery() as nursery:
        await nursery.start(ClusterEvents(store, sink).run)
        for one in (network("net"), secret("key"), config("file"), service("web"), node("n1")):
            store.put(one)
            await trio.testing.wait_all_tasks_blocked()
        store.put(task("t1", service("web")))
        store.put(secret("key", labels={"a": "b"}))
        await trio.testing.wait_all_tasks_blocked()
        await store.commit(Transaction((Delete(store.snapshot().secrets[secret("key").id]),)))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [(e.type, e.action, e.attributes["name"]) for e in sink.events] == [
        ("network", "create", "net"),
        ("secret", "create", "key"),
        ("config", "create", "file"),
        ("service", "create", "web"),
        ("node", "create", "n1"),
        ("secret", "update", "key"),
        ("secret", "remove", "key"),
    ]
    assert {e.scope for e in sink.events} == {"swarm"}


def test_a_services_change_says_what_changed() -> None:
    """Image, replicas, and how far an update has come."""
    before = service("web", mode=ServiceMode(replicated=Replicated(replicas=1)))
    spec = service_spec(
        container=container_spec("busybox:2"), mode=ServiceMode(replicated=Replicated(replicas=3))
    )
    after = replace(before, spec=spec, update_status=UpdateStatus(state="updating"))
    (event,) = told(before, after)
    assert event.attributes == {
        "name": "web",
        "image.old": "busybox:latest",
        "image.new": "busybox:2",
        "replicas.old": "1",
        "replicas.new": "3",
        "updatestate.new": "updating",
    }
    (event,) = told(after, replace(after, update_status=UpdateStatus(state="completed")))
    assert event.attributes["updatestate.old"] == "updating"


def test_a_nodes_change_says_what_changed() -> None:
    """An agent that only registers anew is no news."""
    before = node("m1", manager=True)
    down = replace(
        before, spec=NodeSpec(role="manager", availability="drain"),
        status=NodeStatus(state=NodeState.DOWN),
    )  # fmt: skip
    (event,) = told(before, down)
    assert event.attributes == {
        "name": "m1",
        "availability.old": "active",
        "availability.new": "drain",
        "state.old": "ready",
        "state.new": "down",
        "reachability.old": "reachable",
        "reachability.new": "unreachable",
    }
    assert told(before, replace(before, certificate_issuer="x")) == []


def test_after_a_gap_all_is_compared() -> None:
    """What went, came and changed in it is told; what is as it was is not."""
    before = store_of(secret("gone"), secret("same")).snapshot()
    after = store_of(secret("new"), secret("same")).snapshot()
    events = [
        (e.action, e.attributes["name"]) for e in events_of(before, after, Diff(is_whole=True))
    ]
    assert events == [("create", "new"), ("remove", "gone")]
