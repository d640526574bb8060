"""The rule that says which nodes are up: those whose agents some manager hears.

A session is stored under a lease, so its end is seen by whichever manager leads.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from services.cluster.model.batches import batches
from services.cluster.model.objects import Node, NodeState, Session
from services.cluster.model.snapshot import Change, Decision, Diff, Put, Snapshot

FIRST_SESSION: Final = timedelta(seconds=30)
"""How long a node that joined may take until it is heard of for the first time."""


class NodeWatcher:
    """Moves nodes between READY and DOWN."""

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._awaited: dict[str, datetime] = {}  # nodes not heard of yet, and until when

    def decide(self, snapshot: Snapshot, diff: Diff, now: datetime) -> Decision:
        """The states of nodes whose sessions began or ended."""
        if diff.is_whole:
            self._open = set(snapshot.nodes)
            self._awaited.clear()
        for stored in (*diff.put, *diff.deleted):
            if isinstance(stored, Node | Session):
                self._open.add(stored.id)
        self._open.update(id for id, until in self._awaited.items() if until <= now)
        changes: list[Change] = []
        for node_id in sorted(self._open):
            node = snapshot.nodes.get(node_id)
            after = None if node is None else self._seen(node, snapshot, now)
            if after is None:
                self._open.discard(node_id)
            else:
                changes.append(Put(after))
        return Decision(
            transactions=batches((change,) for change in changes),
            again_in_s=0.0 if changes else self._next_in_s(now),
            notes=tuple(_note(change.object) for change in changes),
        )

    def _seen(self, node: Node, snapshot: Snapshot, now: datetime) -> Node | None:
        """The node as it is to be; None where it is so already."""
        self._awaited.pop(node.id, None)
        if node.id in snapshot.sessions:
            addr = snapshot.sessions[node.id].addr or node.status.addr
            return self._moved(node, NodeState.READY, "", now, addr)
        if node.status.state is NodeState.UNKNOWN:
            until = node.created_at + FIRST_SESSION
            if now < until:
                self._awaited[node.id] = until
                return None
        return self._moved(node, NodeState.DOWN, "heartbeat failure", now, node.status.addr)

    @staticmethod
    def _moved(node: Node, state: NodeState, message: str, now: datetime, addr: str) -> Node | None:
        if node.status.state is state:
            return None
        status = replace(node.status, state=state, message=message, addr=addr, since=now)
        return replace(node, status=status, updated_at=now)

    def _next_in_s(self, now: datetime) -> float | None:
        if not self._awaited:
            return None
        return max(0.0, (min(self._awaited.values()) - now).total_seconds())


def _note(stored: object) -> str:
    assert isinstance(stored, Node)
    return f"node {stored.name or stored.id} is {stored.status.state.name.lower()}"
