"""One node's session on this manager: what it was told, and what there is to tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from services.cluster.dispatcher.facts import CommonFacts
from services.cluster.dispatcher.logs import LogBroker, matches
from services.cluster.dispatcher.network_index import NetworkIndex
from services.cluster.dispatcher.values import (
    AttachmentWish,
    LogMessage,
    LogStop,
    SessionFacts,
    SessionMessage,
    TaskUpdate,
)
from services.cluster.dispatcher.work import Work, complete, difference, work_of
from services.cluster.model.objects import NodeDescription
from services.cluster.model.snapshot import Snapshot
from services.cluster.store.contract import SessionLease
from services.errors import Unavailable

# As swarmkit: a node that has missed three beats is not heard of any more.
BEATS_MISSED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A node as its connection shows it. `issuer` is the root_id of who signed its certificate.

    `data_path_addr` is what the node says of itself, bare; "" is the same as `addr`.
    """

    node_id: str
    role: str
    addr: str = ""
    data_path_addr: str = ""
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Now:
    """The cluster at one revision, and what is derived of it for all sessions."""

    snapshot: Snapshot
    index: NetworkIndex
    facts: CommonFacts


class SessionHost(Protocol):
    """What a session needs of its dispatcher."""

    @property
    def logs(self) -> LogBroker:
        """This manager's subscriptions."""

    @property
    def gather_s(self) -> float:
        """How long to wait for more before a change is told."""

    def now(self) -> Now:
        """The cluster as it is. Raises Unavailable when the dispatcher does not run."""

    async def write_statuses(self, node_id: str, updates: Sequence[TaskUpdate]) -> None:
        """Store reports. Raises Unavailable."""

    async def write_description(self, peer: Peer, description: NodeDescription) -> None:
        """Store what a node is. Raises Unavailable, and Forbidden for a node that is gone."""

    async def attach(self, node_id: str, wish: AttachmentWish) -> str:
        """As `attaching.attach`."""


class ManagerSession:
    """A `Session` in the manager's process. `receive` is for one task at a time."""

    def __init__(
        self, id: str, peer: Peer, lease: SessionLease, host: SessionHost, patience_s: float
    ) -> None:
        self.id = id
        self.peer = peer
        self.networks: frozenset[str] = frozenset()  # told of
        self._lease = lease
        self._host = host
        self._patience_s = patience_s  # from one beat to the next, at most
        self._heard_at = trio.current_time()
        self._changed = trio.Event()
        self._changed.set()
        self._lost_because = ""
        self._facts: SessionFacts | None = None
        self._work: Work | None = None
        self._asked: frozenset[str] = frozenset()  # log subscriptions

    @property
    def beat_every_s(self) -> float:
        """How often the agent is to beat."""
        return self._patience_s / BEATS_MISSED

    @property
    def is_lost(self) -> bool:
        """Whether it was ended from this side."""
        return bool(self._lost_because)

    def wake(self) -> None:
        """Something that may concern this node has changed."""
        self._changed.set()

    def lose(self, reason: str) -> None:
        """End the session from this side."""
        self._lost_because = self._lost_because or reason
        self._changed.set()

    def is_overdue(self, now: float) -> bool:
        """Whether it has not been heard for too long. `now` is trio's time."""
        return now > self._heard_at + self._patience_s

    async def beat(self) -> None:
        """The agent lives. Raises Unavailable when the session is lost."""
        self._check()
        await self._lease.beat()
        self._heard_at = trio.current_time()

    async def receive(self) -> SessionMessage:
        """See `Session`."""
        while True:
            self._check()
            message = self._next()
            if message is not None:
                return message
            self._changed = trio.Event()
            await self._changed.wait()
            if self._work is not None and not self.is_lost:
                await trio.sleep(self._host.gather_s)

    async def update_status(self, updates: Sequence[TaskUpdate]) -> None:
        """See `Session`."""
        self._check()
        await self._host.write_statuses(self.peer.node_id, updates)

    async def describe(self, description: NodeDescription) -> None:
        """See `Session`."""
        self._check()
        await self._host.write_description(self.peer, description)

    async def publish_logs(
        self, subscription_id: str, messages: Sequence[LogMessage], *, is_last: bool = False
    ) -> None:
        """See `Session`. What is not of this node's own tasks is passed over."""
        self._check()
        tasks = self._host.now().snapshot.tasks
        own = [
            message
            for message in messages
            if message.task_id in tasks and tasks[message.task_id].node_id == self.peer.node_id
        ]
        await self._host.logs.publish(self.peer.node_id, subscription_id, own, is_last)

    async def attach(self, wish: AttachmentWish) -> str:
        """See `Session`."""
        self._check()
        return await self._host.attach(self.peer.node_id, wish)

    def _check(self) -> None:
        if self.is_lost:
            raise Unavailable(f"the session with the managers was lost: {self._lost_because}")

    def _next(self) -> SessionMessage | None:
        """The first thing that the node does not know yet."""
        now = self._host.now()
        return (
            self._next_facts(now)
            or self._next_work(now.snapshot, now.index)
            or self._next_request(now.snapshot)
        )

    def _next_facts(self, now: Now) -> SessionFacts | None:
        node = now.snapshot.nodes.get(self.peer.node_id)
        if node is None:
            self.lose("the node was removed")
            self._check()
            return None
        facts = now.facts.of(self.id, node)
        if facts == self._facts:
            return None
        self._facts = facts
        return facts

    def _next_work(self, snapshot: Snapshot, index: NetworkIndex) -> SessionMessage | None:
        before, after = self._work, work_of(self.peer.node_id, snapshot, index)
        self._work = after
        self.networks = frozenset(after.networks)
        return complete(after) if before is None else difference(before, after)

    def _next_request(self, snapshot: Snapshot) -> SessionMessage | None:
        tasks = snapshot.tasks_of_node(self.peer.node_id)
        current = self._host.logs.selectors
        for id in self._asked:
            if id not in current:
                self._asked -= {id}
                return LogStop(subscription_id=id)
        for id, selector in current.items():
            if id in self._asked:
                continue
            if any(matches(selector, task) for task in tasks):
                self._asked |= {id}
                return self._host.logs.request_for(id, self.peer.node_id)
            self._host.logs.has_nothing(id, self.peer.node_id)
        return None
