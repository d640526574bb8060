"""What a new cluster begins with: its own object, its first node, and the ingress network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from services.cluster.ca.authority import (
    Authority,
    Subject,
    given_authority,
    key_pem,
    new_key,
    new_request,
)
from services.cluster.ca.credentials import Credentials
from services.cluster.ca.issuing import issue, issuer_id, new_root_ca, trusted_roots
from services.cluster.ca.tokens import new_unlock_key
from services.cluster.model.objects import Cluster, ClusterNetwork, ManagerMember, Node, NodeStatus
from services.cluster.model.snapshot import Put, Transaction
from services.cluster.model.specs import NetworkSpec, NodeSpec
from services.cluster.model.swarm_spec import SwarmSpec
from services.cluster.model.wire import new_id

INGRESS_NAME = "ingress"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCluster:
    """All of it, before anything was written."""

    cluster: Cluster
    node: Node
    credentials: Credentials


def new_cluster(
    spec: SwarmSpec,
    *,
    now: datetime,
    address: str,
    advertise_addr: str,
    data_path_addr: str,
    availability: str,
    default_address_pool: list[str],
    subnet_size: int,
    data_path_port: int,
) -> NewCluster:
    """A cluster of one manager, whose bare address is `address`.

    Raises InvalidParameter for a root that the user brings and that is none.
    """
    wanted = spec.ca_config
    if wanted.signing_ca_cert and wanted.signing_ca_key:
        authority = given_authority(wanted.signing_ca_cert, wanted.signing_ca_key)
    else:
        authority = Authority.new(now)
    locks = spec.encryption_config.auto_lock_managers
    cluster = Cluster(
        id=new_id(),
        created_at=now,
        updated_at=now,
        spec=replace(spec, ca_config=replace(wanted, signing_ca_cert="", signing_ca_key="")),
        root_ca=new_root_ca(authority),
        unlock_key=new_unlock_key() if locks else "",
        default_address_pool=default_address_pool,
        subnet_size=subnet_size,
        data_path_port=data_path_port,
    )
    node = Node(
        id=new_id(),
        created_at=now,
        updated_at=now,
        spec=NodeSpec(role="manager", availability=availability),
        role="manager",
        status=NodeStatus(addr=address, since=now),
        manager=ManagerMember(addr=advertise_addr),
        data_path_addr=data_path_addr,
        certificate_issuer=issuer_id(cluster.root_ca),
    )
    return NewCluster(
        cluster=cluster, node=node, credentials=_credentials(cluster, node, address, now)
    )


def first_objects(new: NewCluster, member_id: int, now: datetime) -> Transaction:
    """What is written first, in one step: a cluster is there whole or not at all."""
    assert new.node.manager is not None
    place = replace(new.node.manager, member_id=f"{member_id:x}")
    ingress = ClusterNetwork(
        id=new_id(),
        created_at=now,
        updated_at=now,
        spec=NetworkSpec(name=INGRESS_NAME, ingress=True),
    )
    node = replace(new.node, manager=place)
    return Transaction((Put(new.cluster), Put(node), Put(ingress)))


def taken_over(
    cluster: Cluster, nodes: list[Node], node_id: str, place: ManagerMember, now: datetime
) -> list[Transaction]:
    """What follows when one manager goes on alone: the others are managers no more.

    One that comes back renews its certificate as a worker's.
    """
    transactions = [Transaction((Put(replace(cluster, updated_at=now)),))]
    for node in nodes:
        if node.id == node_id:
            changed = replace(node, manager=place, updated_at=now)
        elif node.spec.role == "manager" or node.manager is not None:
            changed = replace(
                node, manager=None, spec=replace(node.spec, role="worker"), updated_at=now
            )
        else:
            continue
        transactions.append(Transaction((Put(changed),)))
    return transactions


def _credentials(cluster: Cluster, node: Node, address: str, now: datetime) -> Credentials:
    key = new_key()
    subject = Subject(node_id=node.id, role="manager", cluster_id=cluster.id, addresses=(address,))
    chain = issue(cluster, new_request(key), subject, now)
    return Credentials(chain=chain, key=key_pem(key), roots=trusted_roots(cluster.root_ca))
