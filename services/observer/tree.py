"""The tree as values for a client: paths, states, times since the epoch, and the containers' names.

A picture of the whole is made without awaiting: all of it is of one moment.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
import trio

from supervisor.otp import Node

from .history import one_line, traceback_text
from .restarts import CONTAINER, Tree, costs, find_node, refusal

DEPTH: Final = 4
"""Levels below the root that are shown unless more is asked for: down to the containers."""


class Crash(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last crash of a part."""

    at_ns: int
    error: str
    traceback: str = ""


class Supervision(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor has besides."""

    strategy: str  # "dynamic": no order, each child for itself
    max_restarts: int
    window_s: float
    restarts_left: int
    child_count: int


class ContainerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a node that is a container has besides."""

    id: str
    name: str
    image: str
    state: str
    health: str  # empty: it has no health check


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One node. Instants are nanoseconds since the epoch; `since_ns` is that of the state."""

    path: str
    id: str
    type: str  # "worker" or "supervisor"
    state: str
    since_ns: int
    restart: str = ""  # "permanent", "transient" or "temporary"; empty: the root
    restarts: int = 0
    crashes: int = 0
    last_crash: Crash | None = None
    can_restart: bool = False
    why_not: str = ""
    costs: str = ""  # what a restart by hand costs
    supervisor: Supervision | None = None
    container: ContainerFacts | None = None
    children: Sequence[Part] = ()


class ContainerNames(Protocol):
    """Who the containers are."""

    def facts(self, container_id: str) -> ContainerFacts | None:
        """None: there is no such container."""
        ...


class Pictures:
    """Makes pictures of the tree."""

    def __init__(self, tree: Tree, names: ContainerNames) -> None:
        self._tree = tree
        self._names = names

    def whole(self, depth: int | None = DEPTH) -> Part:
        """The tree from the root, so many levels deep."""
        return self._part(self._tree.tree(depth), self._clock_offset_ns())

    async def part(self, path: str) -> Part:
        """The part at `path` and all below it, with its own last crash's traceback.

        Raises:
            NotFound: there is none now.
        """
        node = find_node(self._tree, path)
        part = self._part(node, self._clock_offset_ns())
        if node.last_crash is None or part.last_crash is None:
            return part
        # In a thread: it reads the source files' lines.
        text = await trio.to_thread.run_sync(traceback_text, node.last_crash)
        crash = msgspec.structs.replace(part.last_crash, traceback=text)
        return msgspec.structs.replace(part, last_crash=crash)

    @staticmethod
    def _clock_offset_ns() -> int:
        """From trio's clock to the wall's."""
        return time.time_ns() - int(trio.current_time() * 1e9)

    def _part(self, node: Node, offset_ns: int) -> Part:
        why_not = refusal(node)
        found = CONTAINER.fullmatch(node.path)
        facts = node.supervisor
        return Part(
            path=node.path,
            id=node.id,
            type=node.type.value,
            state=node.state.value,
            since_ns=int(node.state_since * 1e9) + offset_ns if node.state_since else 0,
            restart=node.restart.value if node.restart else "",
            restarts=node.restarts,
            crashes=node.crashes,
            last_crash=_crash(node),
            can_restart=not why_not,
            why_not=why_not,
            costs="" if why_not else costs(node),
            supervisor=None
            if facts is None
            else Supervision(
                strategy=facts.strategy.value if facts.strategy else "dynamic",
                max_restarts=facts.max_restarts,
                window_s=facts.window_s,
                restarts_left=facts.restarts_left,
                child_count=facts.child_count,
            ),
            container=self._names.facts(found[1]) if found else None,
            children=[self._part(child, offset_ns) for child in node.children],
        )


def _crash(node: Node) -> Crash | None:
    if node.last_crash is None:
        return None
    return Crash(at_ns=node.crashed_at_ns, error=one_line(node.last_crash))
