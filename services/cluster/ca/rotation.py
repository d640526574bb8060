"""The leader's rule that ends a rotation of the root once every node has followed."""

from __future__ import annotations

from datetime import datetime

import msgspec

from services.cluster.ca.issuing import ended_rotation, is_rotating, issuer_id
from services.cluster.model.snapshot import Decision, Diff, Put, Snapshot, Transaction


class RotationRule:
    """Nodes that are DOWN are waited for, as swarmkit does: without the next root's certificate
    they could never come back. Removing such a node lets the rotation end."""

    def decide(self, snapshot: Snapshot, diff: Diff, now: datetime) -> Decision:  # noqa: ARG002 - a rule's shape
        """Nothing while no root is replaced, or a node still has the old root's certificate."""
        cluster = snapshot.cluster
        if not is_rotating(cluster.root_ca):
            return Decision()
        wanted = issuer_id(cluster.root_ca)
        if any(node.certificate_issuer != wanted for node in snapshot.nodes.values()):
            return Decision()
        after = msgspec.structs.replace(
            cluster, root_ca=ended_rotation(cluster.root_ca), updated_at=now
        )
        return Decision(
            transactions=(Transaction((Put(after),)),), notes=("the root CA was replaced",)
        )
