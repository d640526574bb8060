"""The networks that tasks are in, also those that were removed under tasks which are to end."""

from __future__ import annotations

from services.cluster.model.objects import ClusterNetwork, Task
from services.cluster.model.snapshot import Snapshot


def network_of(network_id: str, snapshot: Snapshot) -> ClusterNetwork | None:
    """The network of a task's place in it; None if it is gone for good."""
    present = snapshot.networks.get(network_id)
    if present is not None:
        return present
    leaving = snapshot.leaving_networks.get(network_id)
    return leaving.network if leaving is not None else None


def holds_network(task: Task, network_id: str) -> bool:
    """Whether a task's container may still be in a network: it has not ended, as far as known."""
    is_in = any(one.network_id == network_id for one in task.networks)
    return is_in and not task.status.state.is_ended
