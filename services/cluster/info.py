"""What a node says of its place in a swarm (the `Swarm` of GET /info)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from services.cluster.model.objects import Cluster

LocalState = Literal["inactive", "pending", "active", "error", "locked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A manager that this node knows of; `addr` is host:port."""

    node_id: str
    addr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmInfo:
    """`node_addr` is a bare address. What is after `error` only a manager knows."""

    node_id: str = ""
    node_addr: str = ""
    state: LocalState = "inactive"
    error: str = ""
    remote_managers: tuple[Peer, ...] = ()
    control_available: bool = False
    cluster: Cluster | None = None
    nodes: int = 0
    managers: int = 0


INACTIVE = SwarmInfo()
