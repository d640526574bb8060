"""A picture of the tree at one moment, for an observer: plain values, no link to what lives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from supervisor.otp.child import Child, State
from supervisor.otp.spec import ChildType, Restart, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A child, or a supervisor with its children in start order. Times are trio's, in seconds."""

    path: str
    id: str  # the last part of the path, which may have slashes of its own
    type: ChildType
    state: State
    since: float  # when it last became ready, or ended; 0 if it never did
    state_since: float = 0.0  # when `state` last changed; 0 if it never did
    restart: Restart | None = None  # None: a root, which nobody restarts
    restarts: int = 0
    crashes: int = 0  # among them restarts that failed
    last_crash: BaseException | None = None
    crashed_at_ns: int = 0  # since the epoch; 0: never
    supervisor: SupervisorFacts | None = None  # not None exactly for a supervisor that is running
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and all below it, each before its children."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorFacts:
    """What a node that is a supervisor has besides."""

    name: str
    strategy: Strategy | None  # None: dynamic
    max_restarts: int
    window_s: float
    restarts_left: int  # before it would give up, now
    child_count: int  # also where `children` was left out


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
