"""What a node's networking is to be, as one value; what follows from it for this node. Pure.

Source of the rules: moby, daemon/libnetwork/service_common.go.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from services.cluster.dispatcher.values import NetworkView, ServiceView
from services.cluster.model.objects import NetworkKey
from services.networks.endpoints import mac_of_address
from services.networks.overlay.values import Neighbour


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNetworkState:
    """All that a node must make true. What is not in it is to be gone.

    `data_path_addr` is this node's, bare: where the others send to, and what it sends from.
    `keys` are for encrypted networks; None while no manager has told them.
    """

    node_id: str
    data_path_addr: str
    data_path_port: int = 4789
    networks: tuple[NetworkView, ...] = ()
    keys: tuple[NetworkKey, ...] | None = None

    @property
    def ingress(self) -> NetworkView | None:
        """The network that published ports are led over."""
        return next((view for view in self.networks if view.network.spec.ingress), None)


def own_address(state: NodeNetworkState, view: NetworkView) -> str:
    """The node's own address in a network, bare; "" when it has none."""
    text = view.network.balancer_addrs.get(state.node_id, "")
    return bare(text) if text else ""


def neighbours(state: NodeNetworkState, view: NetworkView) -> frozenset[Neighbour]:
    """Who is in a network on other nodes, and where those are.

    A MAC address follows from the address. IPv4 only, as swarm's overlay networks are.
    """
    return frozenset(
        Neighbour(address=address, mac=mac_of_address(address), node=peer.data_path_addr)
        for peer in view.peers
        if peer.node_id != state.node_id and peer.data_path_addr
        for address in map(bare, peer.addresses)
        if ":" not in address
    )


def backends_of(service: ServiceView) -> tuple[str, ...]:
    """The addresses of a service's tasks in the view's network, in a lasting order.

    Raises:
        OSError: one is none of IPv4.
    """
    texts = (one.address for one in service.backends)
    found = {bare(text) for text in texts if text and ":" not in text}
    return tuple(sorted(found, key=socket.inet_aton))


def bare(address: str) -> str:
    """An address without its prefix length."""
    return address.partition("/")[0]
