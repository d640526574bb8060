"""What a node is told of its cluster, as a function of the cluster."""

from __future__ import annotations

from dataclasses import dataclass

from services.cluster.ca.issuing import is_rotating, issuer_id, trusted_roots
from services.cluster.dispatcher.values import SessionFacts
from services.cluster.model.objects import Cluster, Node, NodeState
from services.cluster.model.snapshot import Diff, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonFacts:
    """What all nodes are told alike, read once for all sessions."""

    cluster: Cluster
    managers: tuple[str, ...]
    manager_ids: frozenset[str]
    roots: str
    wanted_issuer: str  # "" unless the root is being replaced

    def of(self, session_id: str, node: Node) -> SessionFacts:
        """Everything one node is told but its work."""
        is_of_old_root = self.wanted_issuer not in ("", node.certificate_issuer)
        return SessionFacts(
            session_id=session_id,
            cluster_id=self.cluster.id,
            node=node,
            managers=self.managers,
            heartbeat_period_s=self.cluster.spec.dispatcher.heartbeat_period / 1e9,
            root_certificates=self.roots,
            must_renew=node.role != node.spec.role or is_of_old_root,
            data_path_port=self.cluster.data_path_port,
            default_log_driver=self.cluster.spec.task_defaults.log_driver,
        )

    def are_changed_by(self, diff: Diff) -> bool:
        """Whether every node has to be told: the cluster has changed, or a manager's place."""
        return diff.is_whole or any(
            isinstance(stored, Cluster)
            or (
                isinstance(stored, Node)
                and (stored.manager is not None or stored.id in self.manager_ids)
            )
            for stored in (*diff.put, *diff.deleted)
        )


def common_facts(snapshot: Snapshot) -> CommonFacts:
    """Costs what there is of nodes."""
    cluster = snapshot.cluster
    managers = [node for node in snapshot.nodes.values() if node.manager and node.manager.addr]
    # Those that are heard of come first: a node tries them in turn.
    managers.sort(key=lambda node: (node.status.state != NodeState.READY, node.id))
    return CommonFacts(
        cluster=cluster,
        managers=tuple(node.manager.addr for node in managers if node.manager),
        manager_ids=frozenset(node.id for node in managers),
        roots=trusted_roots(cluster.root_ca),
        wanted_issuer=issuer_id(cluster.root_ca) if is_rotating(cluster.root_ca) else "",
    )
