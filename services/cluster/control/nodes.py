"""The cluster's nodes as its users see and change them.

Source: swarmkit, manager/controlapi/node.go; moby, daemon/cluster (nodes.go, filters.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from services.cluster.control.changes import (
    at_version,
    change_any_version,
    commit,
    seen,
    touched,
)
from services.cluster.control.filters import (
    Filters,
    begins,
    check_known,
    has_labels,
    is_one_of,
)
from services.cluster.control.find import find
from services.cluster.control.ports import ControlStore, Leadership
from services.cluster.control.refusals import precondition
from services.cluster.model.objects import Node, NodeState
from services.cluster.model.snapshot import Change, Delete, Put, Snapshot
from services.cluster.model.specs import NodeSpec
from services.cluster.requests import AVAILABILITIES, NodeUpdate
from services.errors import InvalidParameter

ROLES: Final = ("worker", "manager")
MEMBERSHIPS: Final = ("pending", "accepted")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenNode:
    """A node, and what is known of it as a manager: both false for a worker."""

    node: Node
    is_leader: bool
    is_reachable: bool


class Nodes:
    """Operations on nodes."""

    def __init__(self, store: ControlStore, leadership: Leadership) -> None:
        self._store, self._leadership = store, leadership

    def list(self, filters: Filters) -> Sequence[SeenNode]:
        """Those that all filters let pass, by age.

        Raises:
            InvalidParameter: an unknown filter, or a value that is none.
        """
        check_known(filters, "name", "id", "label", "role", "membership", "node.label")
        roles = _words(filters, "role", ROLES)
        memberships = _words(filters, "membership", MEMBERSHIPS)
        nodes = [
            node
            for node in self._store.snapshot().nodes.values()
            if begins(node.description.hostname, filters.get("name", ()))
            and begins(node.id, filters.get("id", ()))
            and is_one_of(node.role, roles)
            and is_one_of("accepted", memberships)
            and has_labels(node.description.engine.labels, filters.get("label", ()))
            and has_labels(node.spec.labels, filters.get("node.label", ()))
        ]
        return [self._seen(one) for one in sorted(nodes, key=lambda one: (one.created_at, one.id))]

    def get(self, ref: str) -> SeenNode:
        """By id, host's name or beginning of its id.

        Raises:
            NotFound: there is none.
            InvalidParameter: several are meant.
        """
        return self._seen(find_node(self._store.snapshot(), ref))

    async def update(self, ref: str, version: int, update: NodeUpdate) -> None:
        """Change name, labels, role and availability.

        Raises:
            NotFound: there is none.
            InvalidParameter: a role or availability that is none, or the managers would be lost.
            OutOfSequence: it is of another version.
        """
        role, availability = update.role.lower(), update.availability.lower()
        if role not in ROLES:
            raise InvalidParameter(f'invalid Role: "{update.role}"')
        if availability not in AVAILABILITIES:
            raise InvalidParameter(f'invalid Availability: "{update.availability}"')
        snapshot = await seen(self._store, version)
        node = find_node(snapshot, ref)
        if node.spec.role == "manager" and role == "worker":
            check_demotion(node, snapshot.nodes.values(), self._leadership.present_managers)
        spec = NodeSpec(
            name=update.name, labels=update.labels, role=role, availability=availability
        )
        await commit(self._store, Put(touched(replace(at_version(node, version), spec=spec))))

    async def remove(self, ref: str, *, force: bool) -> None:
        """Forget a node.

        Raises:
            NotFound: there is none.
            InvalidParameter: it is a manager, or it is not down and `force` is not set.
        """

        def decide(snapshot: Snapshot) -> Sequence[Change]:
            node = find_node(snapshot, ref)
            if node.spec.role == "manager" or node.manager is not None:
                raise precondition(
                    f"node {node.id} is a cluster manager and is a member of the raft cluster. It "
                    "must be demoted to worker before removal"
                )
            if not force and node.status.state is NodeState.READY:
                raise precondition(f"node {node.id} is not down and can't be removed")
            return (Delete(node),)

        await change_any_version(self._store, decide)

    def _seen(self, node: Node) -> SeenNode:
        return SeenNode(
            node=node,
            is_leader=node.manager is not None and node.id == self._leadership.leader_id,
            is_reachable=is_reachable(node, self._leadership.present_managers),
        )


def find_node(snapshot: Snapshot, ref: str) -> Node:
    """As `Nodes.get`."""
    return find("node", snapshot.nodes, ref, lambda node: node.description.hostname)


def is_reachable(node: Node, present: AbstractSet[str]) -> bool:
    """Whether a manager's other managers hear of it. One that has just joined is not given up."""
    is_new = node.status.state is NodeState.UNKNOWN
    return node.manager is not None and (is_new or node.id in present)


def check_demotion(node: Node, nodes: Iterable[Node], present: AbstractSet[str]) -> None:
    """Whether the managers can do without this one; `present` are those that are heard of.

    Raises:
        InvalidParameter: there would be none, or no majority that is reachable.
    """
    others = [one for one in nodes if one.manager is not None and one.id != node.id]
    if not others:
        raise precondition("attempting to demote the last manager of the swarm")
    reachable = sum(is_reachable(one, present) for one in others)
    if reachable <= len(others) // 2:
        raise precondition(
            "can't remove member from the raft: this would result in a loss of quorum"
        )


def _words(filters: Filters, name: str, known: Sequence[str]) -> list[str]:
    """The values of a filter, of which "" is none."""
    values = [value.lower() for value in filters.get(name, ()) if value]
    for value in values:
        if value not in known:
            raise InvalidParameter(f"Invalid {name} filter: '{value}'")
    return values
