"""What may be expected of a node: whether its tasks stay there."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

from services.cluster.model.objects import Node, NodeState

DOWN_GRACE: Final = timedelta(seconds=5)
"""How long a node is DOWN before its tasks are replaced. Its session has ended before that, so a
host that is cut off has its heartbeats' time besides."""


class Standing(Enum):
    """A node's, at an instant."""

    GOOD = auto()
    PAUSED = auto()  # what runs there stays; nothing new comes
    DOUBTFUL = auto()  # down, but not for long
    DRAINED = auto()  # what runs there has to go, and is stopped in good order
    LOST = auto()  # down for long, or removed: nobody can say what runs there

    @property
    def keeps_tasks(self) -> bool:
        """Whether what runs there counts."""
        return self not in (Standing.DRAINED, Standing.LOST)


def standing(node: Node | None, now: datetime) -> tuple[Standing, datetime | None]:
    """A node's standing, and when it will be another if nothing is heard until then."""
    if node is None:
        return Standing.LOST, None
    until: datetime | None = None
    if node.status.state is NodeState.DOWN:
        since = node.status.since or node.updated_at
        if now >= since + DOWN_GRACE:
            return Standing.LOST, None
        until = since + DOWN_GRACE
    if node.spec.availability == "drain":
        return Standing.DRAINED, until
    if until is not None:
        return Standing.DOUBTFUL, until
    if node.spec.availability == "pause":
        return Standing.PAUSED, None
    return Standing.GOOD, None
