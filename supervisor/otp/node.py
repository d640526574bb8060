"""A picture of the tree at one moment, for an observer: plain values, no link to what lives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from supervisor.otp.spec import ChildType, Restart, Strategy
from supervisor.otp.state import State


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
