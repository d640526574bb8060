"""The whole of a cluster at one revision, and the changes that are asked of it.

The leader's rules are functions from a snapshot (and the time) to transactions. They read no clock
and do no input or output, so any leader can die between any two of their writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.cluster.model.objects import (
    Cluster,
    ClusterNetwork,
    Config,
    LeavingNetwork,
    Node,
    Secret,
    Service,
    Session,
    Stored,
    Task,
)


class Snapshot(Protocol):
    """Objects by id. It does not change while it is held; holding one across an await is fine."""

    @property
    def revision(self) -> int:
        """The store's revision that this is."""

    @property
    def cluster(self) -> Cluster:
        """The cluster's own object."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Every node that has joined."""

    @property
    def sessions(self) -> Mapping[str, Session]:
        """By node, of the nodes whose agents are heard of."""

    @property
    def services(self) -> Mapping[str, Service]:
        """Every service."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Every task, ended ones too."""

    @property
    def networks(self) -> Mapping[str, ClusterNetwork]:
        """Every network that spans nodes."""

    @property
    def leaving_networks(self) -> Mapping[str, LeavingNetwork]:
        """Those that were removed and are not empty yet. No list shows them."""

    @property
    def secrets(self) -> Mapping[str, Secret]:
        """Every secret."""

    @property
    def configs(self) -> Mapping[str, Config]:
        """Every config."""

    def tasks_of_service(self, service_id: str) -> Sequence[Task]:
        """In no order that matters. Costs what there is of them."""

    def tasks_of_node(self, node_id: str) -> Sequence[Task]:
        """In no order that matters. Costs what there is of them."""


@dataclass(frozen=True, slots=True)
class Put:
    """Store an object. Its `version` is what must be there now; 0: nothing must be there."""

    object: Stored


@dataclass(frozen=True, slots=True)
class Delete:
    """Take an object away. Its `version` is what must be there now."""

    object: Stored


Change = Put | Delete


@dataclass(frozen=True, slots=True)
class Transaction:
    """Changes that are made together or not at all; 60 at most, so that none takes long.

    Attributes:
        uses: what the changes begin to name. It must be there still, at whatever version, and who
            takes it away at the same time is refused. 1,000 at most.
        decided_at: the revision of the snapshot that a deletion was decided by: who has begun to
            name the object after that keeps it. 0: nobody may be asked.
    """

    changes: tuple[Change, ...]
    uses: tuple[Stored, ...] = ()
    decided_at: int = 0


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed from one snapshot to the next; a loop reads it to know where to look.

    `is_whole`: the snapshot was read anew, and everything may have changed.
    """

    put: tuple[Stored, ...] = ()
    deleted: tuple[Stored, ...] = ()
    is_whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a rule wants written, and when it wants to be asked again if nothing changes."""

    transactions: tuple[Transaction, ...] = ()
    again_in_s: float | None = None
    notes: tuple[str, ...] = field(default=())  # for the log: what was decided, and why
