"""What a node in a cluster does besides keeping it; whoever makes the engine's parts has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.cluster.dispatcher.source import AssignmentSource
from services.cluster.dispatcher.values import SessionFacts
from services.cluster.local_state import LocalState
from supervisor.otp import ChildSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentContext:
    """What an agent is made for. `listeners` are told what the managers say of the cluster."""

    state: LocalState
    source: AssignmentSource
    listeners: Sequence[Callable[[SessionFacts], None]]
    on_removed: Callable[[], None]


class NodeWork(Protocol):
    """The agent and the node's networking."""

    def children(self, context: AgentContext) -> Sequence[ChildSpec]:
        """Made anew for each time that the node begins to be part of a cluster, or changes its
        role. They run in this order."""

    async def clear(self) -> None:
        """The node has left: no task's container stays, and no network of the cluster's."""
