"""Why a manager is not let go without force, in dockerd's words.

Source: moby, daemon/cluster/swarm.go, Leave.
"""

from __future__ import annotations

from typing import Final

from services.cluster.model.objects import NodeState
from services.cluster.model.snapshot import Snapshot

_WARNING: Final = (
    "You are attempting to leave the swarm on a node that is participating as a manager. "
)
_LAST: Final = (
    "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this "
    "message."
)
_RESTORE: Final = (
    "The only way to restore a swarm that has lost consensus is to reinitialize it with "
    "`--force-new-cluster`. Use `--force` to suppress this message."
)


def refusal_to_leave(snapshot: Snapshot, node_id: str) -> str:
    """The sentence. It depends on what the managers that stay could still decide."""
    managers = [node for node in snapshot.nodes.values() if node.manager is not None]
    reachable = [node for node in managers if node.status.state is NodeState.READY]
    if len(managers) <= 1:
        return _WARNING + _LAST
    staying = len([node for node in reachable if node.id != node_id])
    if staying <= len(managers) // 2:
        return (
            f"{_WARNING}Removing this node leaves {staying} managers out of {len(managers)}. "
            f"Without a Raft quorum your swarm will be inaccessible. {_RESTORE}"
        )
    return _WARNING + _RESTORE
