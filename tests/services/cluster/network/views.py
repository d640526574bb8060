"""What managers tell of networks, written shortly."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from services.cluster.dispatcher.values import Backend, NetworkPeer, NetworkView, ServiceView
from services.cluster.model.objects import ClusterNetwork, VxlanNetwork
from services.cluster.model.specs import NetworkSpec, PortConfig

BEGAN_AT = datetime(2026, 11, 1, tzinfo=UTC)


def cluster_network(
    name: str = "ov",
    *,
    third: int,
    ingress: bool = False,
    balancers: dict[str, str] | None = None,
    **spec: object,
) -> ClusterNetwork:
    """10.99.`third`.0/24, under a VXLAN id that nobody else has."""
    return ClusterNetwork(
        id=secrets.token_hex(12),
        created_at=BEGAN_AT,
        updated_at=BEGAN_AT,
        spec=NetworkSpec(name=name, ingress=ingress, **spec),  # type: ignore[arg-type]
        subnets=[
            VxlanNetwork(
                subnet=f"10.99.{third}.0/24",
                gateway=f"10.99.{third}.1",
                vxlan_id=4096 + secrets.randbelow(1 << 20),
            )
        ],
        balancer_addrs=balancers or {},
    )


def backend(name: str, address: str, node_id: str = "n2") -> Backend:
    """A task that runs."""
    return Backend(task_id=f"id-{name}", name=name, address=address, node_id=node_id)


def service(
    name: str = "web",
    *backends: Backend,
    vip: str = "",
    ports: tuple[tuple[str, int, int], ...] = (),
    aliases: tuple[str, ...] = (),
) -> ServiceView:
    """A service; `ports` are protocol, published and target."""
    return ServiceView(
        id=f"id-{name}",
        name=name,
        aliases=aliases,
        vip=vip,
        backends=backends,
        ports=tuple(
            PortConfig(protocol=protocol, published_port=published, target_port=target)
            for protocol, published, target in ports
        ),
    )


def view(
    network: ClusterNetwork, *services: ServiceView, peers: tuple[NetworkPeer, ...] = ()
) -> NetworkView:
    """One network as a node is told of it."""
    return NetworkView(network=network, services=services, peers=peers)


def peer(node_id: str, data_path_addr: str, *addresses: str) -> NetworkPeer:
    """A node with these addresses in a network."""
    return NetworkPeer(node_id=node_id, data_path_addr=data_path_addr, addresses=addresses)
