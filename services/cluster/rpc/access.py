"""Whether a caller may make a call: a pure function of its certificate and the cluster."""

from __future__ import annotations

from services.cluster.ca.identity import Identity
from services.cluster.model.snapshot import Snapshot
from services.cluster.rpc.methods import Who
from services.errors import Forbidden, Unauthorized


def check_access(who: Who, caller: Identity | None, snapshot: Snapshot) -> None:
    """Return if `caller` may; None is a caller without a certificate.

    A certificate alone is not enough: the node must still be one of the cluster's, and a manager
    must not have been demoted since. Raises Unauthorized and Forbidden.
    """
    if who is Who.ANYONE:
        return
    if caller is None:
        raise Unauthorized("a certificate of the swarm is needed for this")
    if caller.cluster_id != snapshot.cluster.id:
        raise Forbidden("the certificate is of another swarm")
    node = snapshot.nodes.get(caller.node_id)
    if node is None:
        raise Forbidden("the node was removed from the swarm")
    if who is Who.MANAGER and not caller.role == node.spec.role == "manager":
        raise Forbidden("this is for managers only")
