"""What a node is told of its cluster, as a function of the cluster."""

from __future__ import annotations

from services.cluster.ca.issuing import must_renew, trusted_roots
from services.cluster.dispatcher.values import SessionFacts
from services.cluster.model.objects import Node, NodeState
from services.cluster.model.snapshot import Snapshot


def manager_addresses(snapshot: Snapshot) -> tuple[str, ...]:
    """host:port of each manager; those that are heard of come first."""
    managers = [node for node in snapshot.nodes.values() if node.manager and node.manager.addr]
    managers.sort(key=lambda node: (node.status.state != NodeState.READY, node.id))
    return tuple(node.manager.addr for node in managers if node.manager)


def facts_of(session_id: str, node: Node, snapshot: Snapshot) -> SessionFacts:
    """Everything a node is told but its work."""
    cluster = snapshot.cluster
    return SessionFacts(
        session_id=session_id,
        cluster_id=cluster.id,
        node=node,
        managers=manager_addresses(snapshot),
        heartbeat_period_s=cluster.spec.dispatcher.heartbeat_period / 1e9,
        root_certificates=trusted_roots(cluster.root_ca),
        must_renew=must_renew(cluster, node),
        data_path_port=cluster.data_path_port,
        default_log_driver=cluster.spec.task_defaults.log_driver,
    )
