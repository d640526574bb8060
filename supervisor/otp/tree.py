"""Taking the picture of a tree: from its children to nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from supervisor.otp.child import Child
from supervisor.otp.node import Node, SupervisorFacts


def supervisor_node(
    here: Node,
    parent: Child | None,
    facts: SupervisorFacts,
    children: Iterable[Child],
    depth: int | None,
) -> Node:
    """The node of a supervisor: `here` completed, with what is known of the child it runs as."""
    node = here if parent is None else replace(_own_node(parent), path=here.path)
    below = None if depth is None else depth - 1
    shown = () if depth == 0 else tuple(child_node(child, below) for child in children)
    return replace(node, supervisor=facts, children=shown)


def child_node(child: Child, depth: int | None) -> Node:
    """The node of a child, with the tree below it, to `depth`, if a supervisor runs as it."""
    return _own_node(child) if child.nested is None else child.nested.tree(depth)


def _own_node(child: Child) -> Node:
    return Node(
        path=child.path,
        id=child.id,
        type=child.spec.type,
        state=child.state,
        since=child.since,
        state_since=child.state_since,
        restart=child.spec.restart,
        restarts=child.restarts,
        crashes=child.crashes,
        last_crash=child.last_crash,
        crashed_at_ns=child.crashed_at_ns,
    )
