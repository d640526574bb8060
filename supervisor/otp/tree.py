"""A picture of the tree at one moment, for an observer: plain values, no link to what lives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from supervisor.otp.child import Child, State
from supervisor.otp.spec import ChildType, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A child, or a supervisor with its children in start order. Times are trio's, in seconds."""

    path: str
    type: ChildType
    state: State
    since: float  # when it last became ready, or ended; 0 if it never did
    restarts: int = 0
    last_crash: BaseException | None = None
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


def supervisor_node(
    here: Node, parent: Child | None, facts: SupervisorFacts, children: Iterable[Child]
) -> Node:
    """The node of a supervisor: `here` completed, with what is known of the child it runs as."""
    node = here if parent is None else replace(_own_node(parent), path=here.path)
    return replace(node, supervisor=facts, children=tuple(child_node(child) for child in children))


def child_node(child: Child) -> Node:
    """The node of a child, with the tree below it if a supervisor runs as it."""
    return _own_node(child) if child.nested is None else child.nested.tree()


def _own_node(child: Child) -> Node:
    return Node(
        path=child.path,
        type=child.spec.type,
        state=child.state,
        since=child.since,
        restarts=child.restarts,
        last_crash=child.last_crash,
    )
