"""A manager's dispatcher: sessions of nodes, woken when the store has something for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import msgspec
import trio
from loguru import logger

from services.cluster.dispatcher import attaching
from services.cluster.dispatcher.facts import common_facts
from services.cluster.dispatcher.logs import LogBroker, matches
from services.cluster.dispatcher.network_index import NetworkIndex
from services.cluster.dispatcher.sessions import BEATS_MISSED, ManagerSession, Now, Peer
from services.cluster.dispatcher.statuses import StatusWriter
from services.cluster.dispatcher.values import (
    AttachmentWish,
    LogMessage,
    LogOptions,
    LogSelector,
    TaskUpdate,
)
from services.cluster.model.objects import Node, NodeDescription, Session, Task
from services.cluster.model.snapshot import Diff, Put, Transaction
from services.cluster.model.wire import new_id, utc_now
from services.cluster.store.contract import ClusterStore, OutOfSequence, SessionLease
from services.errors import Forbidden, Unavailable

# Changes that come close together are told together: a stack's deployment is one message a node.
# With many nodes telling takes longer, and they wait for more: 1,000 for a fifth of a second.
GATHER_S: Final = 0.02
GATHER_PER_SESSION_S: Final = 0.0002
# Between two looks whether nodes are overdue.
REACH_LIMIT_S: Final = 5.0  # following the store takes milliseconds
LOOK_S: Final = 1.0
WRITE_ATTEMPTS: Final = 10

log = logger.bind(service="cluster.dispatcher")


class Dispatcher:
    """Every manager has one; a node may come to any of them. `run` is a supervised child.

    Sessions are only opened while `run` runs; they are all lost when it ends. In the store, one
    that ends runs out by itself: an agent that looks for another manager is not taken for dead.
    """

    def __init__(self, store: ClusterStore) -> None:
        self.logs: Final = LogBroker(self._wake_all)
        self._store = store
        self._statuses = StatusWriter(store)
        self._sessions: dict[str, ManagerSession] = {}  # by node
        self._now: Now | None = None  # set exactly while `run` runs
        self._runs = trio.Event()  # another one each time that `run` has ended
        self._views_due = trio.Event()  # look anew when that is
        self._advanced = trio.Event()  # another one after each step of `_follow`

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the store until cancelled."""
        snapshot = self._store.snapshot()
        self._now = Now(snapshot, NetworkIndex(snapshot), common_facts(snapshot))
        self._runs.set()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._statuses.run)
                nursery.start_soon(self._end_overdue)
                nursery.start_soon(self._refresh_late)
                task_status.started()
                await self._follow()
        finally:
            self._now = None
            self._runs = trio.Event()
            self._advanced.set()
            for session in self._sessions.values():
                session.lose("the manager stops")

    @property
    def gather_s(self) -> float:
        """How long to wait for more before a change is told."""
        return GATHER_S + GATHER_PER_SESSION_S * len(self._sessions)

    async def wait_running(self) -> None:
        """Block until sessions can be opened. No limit."""
        await self._runs.wait()

    def now(self) -> Now:
        """The cluster as it is. Raises Unavailable when `run` does not run."""
        if self._now is None:
            raise Unavailable("this manager's dispatcher is not running")
        return self._now

    @asynccontextmanager
    async def session(
        self, peer: Peer, description: NodeDescription
    ) -> AsyncIterator[ManagerSession]:
        """A session for a node that has shown who it is; an older one of the same node is lost.

        The agent's beats go to the session. Raises Unavailable, and Forbidden for a node that is
        none of the cluster's.
        """
        cluster = self.now().snapshot.cluster
        await self.write_description(peer, description)
        await self._reach(self._store.snapshot().revision)
        patience_s = BEATS_MISSED * cluster.spec.dispatcher.heartbeat_period / 1e9
        async with self._lease(peer, patience_s) as lease:
            lease.leave()
            session = ManagerSession(new_id(), peer, lease, self, patience_s)
            older = self._sessions.get(peer.node_id)
            if older is not None:
                older.lose("the node has opened another one")
            self._sessions[peer.node_id] = session
            log.bind(node=peer.node_id, addr=peer.addr).info("node has a session")
            try:
                yield session
            finally:
                session.lose("it was ended")
                if self._sessions.get(peer.node_id) is session:
                    del self._sessions[peer.node_id]
                    self.logs.node_is_gone(peer.node_id)
                log.bind(node=peer.node_id).info("node's session has ended")

    def session_of(self, node_id: str) -> ManagerSession:
        """The session that a node has here. Raises Unavailable for none."""
        session = self._sessions.get(node_id)
        if session is None:
            raise Unavailable("there is no session of this node")
        return session

    def subscribe_logs(
        self, selector: LogSelector, options: LogOptions
    ) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[LogMessage]]:
        """Logs from the nodes that have their sessions on this manager.

        Without `follow` the channel ends when all of them have sent what they have.
        """
        snapshot = self.now().snapshot
        nodes = [
            node_id
            for node_id in self._sessions
            if any(matches(selector, task) for task in snapshot.tasks_of_node(node_id))
        ]
        return self.logs.subscribe(
            selector, options, sessions=tuple(self._sessions), waiting_for=nodes
        )

    async def write_statuses(self, node_id: str, updates: Sequence[TaskUpdate]) -> None:
        """Store a node's reports. Raises Unavailable."""
        await self._statuses.write(node_id, updates)

    async def write_description(self, peer: Peer, description: NodeDescription) -> None:
        """Store what a node says that it is, and what its certificate says.

        Raises Unavailable, and Forbidden for a node that is none of the cluster's.
        """
        for _ in range(WRITE_ATTEMPTS):
            node = self._store.snapshot().nodes.get(peer.node_id)
            if node is None:  # it may have joined at another manager a moment ago
                await self._store.catch_up()
                node = self._store.snapshot().nodes.get(peer.node_id)
            if node is None:
                raise Forbidden("the node was removed from the swarm")
            after = described(node, peer, description)
            if after == node:
                return
            put = Put(msgspec.structs.replace(after, updated_at=utc_now()))
            try:
                await self._store.commit(Transaction((put,)))
            except OutOfSequence:
                continue
            return
        raise Unavailable("the node changes faster than its description can be stored")

    async def attach(self, node_id: str, wish: AttachmentWish) -> str:
        """As `attaching.attach`."""
        return await attaching.attach(self._store, node_id, wish)

    def _lease(self, peer: Peer, ttl_s: float) -> AbstractAsyncContextManager[SessionLease]:
        now = utc_now()
        stored = Session(id=peer.node_id, addr=peer.addr, created_at=now, updated_at=now)
        return self._store.session(stored, ttl_s=ttl_s)

    async def _follow(self) -> None:
        while True:
            before = self.now()
            diff = await self._store.changed_since(before.snapshot.revision)
            snapshot = self._store.snapshot()
            before.index.advance(snapshot, diff)
            is_for_all = before.facts.are_changed_by(diff)
            facts = common_facts(snapshot) if is_for_all else before.facts
            self._now = Now(snapshot, before.index, facts)
            advanced, self._advanced = self._advanced, trio.Event()
            advanced.set()
            self._refresh_views()
            if is_for_all:
                self._wake_all()
                continue
            for node_id in concerned_nodes(diff):
                if node_id in self._sessions:
                    self._sessions[node_id].wake()

    def _refresh_views(self) -> None:
        different = self.now().index.refresh(trio.current_time())
        if different:
            for session in self._sessions.values():
                if not different.isdisjoint(session.networks):
                    session.wake()
        self._views_due.set()

    async def _refresh_late(self) -> None:
        """Large views are made anew when they are due, although nothing happens then."""
        while True:
            with trio.move_on_at(self.now().index.due_at()):
                self._views_due = trio.Event()
                await self._views_due.wait()
                continue
            self._refresh_views()

    async def _reach(self, revision: int) -> None:
        """Block until sessions see what was stored up to `revision`. Raises Unavailable."""
        with trio.move_on_after(REACH_LIMIT_S):
            while self.now().snapshot.revision < revision:
                await self._advanced.wait()
            return
        raise Unavailable("this manager's dispatcher is behind its store; try again")

    async def _end_overdue(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            for session in tuple(self._sessions.values()):
                if session.is_overdue(trio.current_time()):
                    session.lose("the node was not heard of")

    def _wake_all(self) -> None:
        for session in self._sessions.values():
            session.wake()


def described(node: Node, peer: Peer, description: NodeDescription) -> Node:
    """A node with what its agent and its connection say of it."""
    return msgspec.structs.replace(
        node,
        description=description,
        role=peer.role,
        certificate_issuer=peer.issuer or node.certificate_issuer,
        # Always anew: a host's address may have changed since it was last here.
        data_path_addr=peer.data_path_addr or peer.addr or node.data_path_addr,
        status=msgspec.structs.replace(node.status, addr=peer.addr or node.status.addr),
    )


def concerned_nodes(diff: Diff) -> set[str]:
    """Nodes whose tasks or records changed. Secrets and configs never change but in labels."""
    nodes = set()
    for stored in (*diff.put, *diff.deleted):
        match stored:
            case Task():
                nodes.add(stored.node_id)
            case Node():
                nodes.add(stored.id)
            case _:
                pass
    return nodes
