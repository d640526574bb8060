"""A manager's side of certificates: nodes that join, and nodes that renew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.cluster.ca.authority import Subject
from services.cluster.ca.identity import Identity
from services.cluster.ca.issuing import issue, issuer_id, trusted_roots
from services.cluster.ca.tokens import role_of
from services.cluster.model.objects import Cluster, Node, NodeStatus
from services.cluster.model.snapshot import Put, Transaction
from services.cluster.model.specs import NodeSpec
from services.cluster.model.wire import new_id, utc_now
from services.cluster.store.contract import ClusterStore
from services.errors import Forbidden, InvalidParameter

AVAILABILITIES: Final = ("active", "pause", "drain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What a node asks for. `addresses` are bare IP addresses that a manager's peers dial."""

    signing_request: str
    availability: str = "active"
    addresses: tuple[str, ...] = ()
    peer_addr: str = ""  # as the connection shows it


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What a node gets: its id, its certificate's chain, and the roots to trust; PEM."""

    node_id: str
    chain: str
    roots: str


class Admission:
    """Signs with the cluster's key, which is in the store; so every manager can."""

    def __init__(self, store: ClusterStore) -> None:
        self._store = store

    @property
    def root(self) -> str:
        """What a join token's digest is compared with: PEM."""
        return self._store.snapshot().cluster.root_ca.certificate

    async def admit(self, join_secret: str, application: Application) -> Issued:
        """Make a node of who knows a token's secret. Returns once the node stands in the store.

        Raises Forbidden in swarmkit's words for a wrong secret, InvalidParameter, Unavailable.
        """
        cluster = self._store.snapshot().cluster
        role = role_of(join_secret, cluster.root_ca.join_tokens)
        if role is None:
            raise Forbidden("A valid join token is necessary to join this cluster")
        if application.availability not in AVAILABILITIES:
            raise InvalidParameter(f"invalid availability: {application.availability}")
        now, node_id = utc_now(), new_id()
        issued = _issued(cluster, node_id, role, application, now)
        node = Node(
            id=node_id,
            created_at=now,
            updated_at=now,
            spec=NodeSpec(role=role, availability=application.availability),
            role=role,
            status=NodeStatus(addr=application.peer_addr, since=now),
            data_path_addr=application.peer_addr,
            certificate_issuer=issuer_id(cluster.root_ca),
        )
        await self._store.commit(Transaction((Put(node),)))
        return issued

    def renew(self, caller: Identity, application: Application) -> Issued:
        """Another certificate for a node, of the role that is wanted of it now.

        Raises Forbidden for a node that was removed, InvalidParameter.
        """
        snapshot = self._store.snapshot()
        node = snapshot.nodes.get(caller.node_id)
        if node is None or caller.cluster_id != snapshot.cluster.id:
            raise Forbidden("the node was removed from the swarm")
        return _issued(snapshot.cluster, node.id, node.spec.role, application, utc_now())


def _issued(
    cluster: Cluster, node_id: str, role: str, application: Application, now: datetime
) -> Issued:
    subject = Subject(
        node_id=node_id, role=role, cluster_id=cluster.id, addresses=application.addresses
    )
    chain = issue(cluster, application.signing_request, subject, now)
    return Issued(node_id=node_id, chain=chain, roots=trusted_roots(cluster.root_ca))
