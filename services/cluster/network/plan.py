"""From what the managers say to what this node has to make, computed once for each change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from services.cluster.dispatcher.values import NetworkView
from services.cluster.network.state import NodeNetworkState, neighbours, own_address
from services.cluster.network.targets import IngressPort, names, port_targets, service_targets
from services.errors import EngineError
from services.networks.dns import NamedEndpoint
from services.networks.model import Network, Subnet, Underlay
from services.networks.overlay import DRIVER, ENCRYPTED, SWARM_SCOPE, Neighbour

VXLAN_IDS: Final = "com.docker.network.driver.overlay.vxlanid_list"
"""dockerd's option, which tells clients what was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """One network here. `problem` says why it cannot be had, "" if it can.

    `own_address` is the node's own in it, "" for none; `ports` are of the ingress network only.
    """

    network: Network
    problem: str = ""
    neighbours: frozenset[Neighbour] = frozenset()
    names: Mapping[str, NamedEndpoint]
    services: Mapping[str, tuple[str, ...]]
    is_ingress: bool = False
    own_address: str = ""
    ports: Mapping[IngressPort, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """All of them, by id."""

    networks: Mapping[str, NetworkPlan]

    @property
    def ingress(self) -> NetworkPlan | None:
        """The network that published ports are led over."""
        return next((one for one in self.networks.values() if one.is_ingress), None)

    def services_in(self, network_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """What who is in these networks reaches by services' own addresses."""
        found: dict[str, tuple[str, ...]] = {}
        for network_id in network_ids:
            plan = self.networks.get(network_id)
            if plan is not None:
                found |= plan.services
        return found


def plan_node(state: NodeNetworkState) -> NodePlan:
    """What the node has to make."""
    return NodePlan(
        networks={view.network.id: _plan_network(state, view) for view in state.networks}
    )


def _plan_network(state: NodeNetworkState, view: NetworkView) -> NetworkPlan:
    try:
        network, problem = network_of(state, view), _problem(state, view)
    except ValueError as error:
        raise EngineError(f"network {view.network.name} cannot be understood: {error}") from error
    return NetworkPlan(
        network=network,
        problem=problem,
        neighbours=neighbours(state, view),
        names=names(view),
        services={} if view.network.spec.ingress else service_targets(view),
        is_ingress=view.network.spec.ingress,
        own_address=own_address(state, view),
        ports=port_targets(view) if view.network.spec.ingress else {},
    )


def network_of(state: NodeNetworkState, view: NetworkView) -> Network:
    """The network as the engine has it."""
    found, spec = view.network, view.network.spec
    return Network(
        id=found.id,
        name=found.name,
        driver=spec.driver or DRIVER,
        created_at_ns=int(found.created_at.timestamp() * 1e9),
        scope=SWARM_SCOPE,
        internal=spec.internal,
        attachable=spec.attachable,
        ingress=spec.ingress,
        options={
            **spec.options,
            VXLAN_IDS: ",".join(str(subnet.vxlan_id) for subnet in found.subnets),
        },
        labels=dict(spec.labels),
        subnets=[
            Subnet(
                subnet=subnet.subnet,
                ip_range=subnet.ip_range,
                gateway=subnet.gateway,
                vxlan_id=subnet.vxlan_id,
            )
            for subnet in found.subnets
        ],
        underlay=Underlay(address=state.data_path_addr, port=state.data_path_port),
    )


def _problem(state: NodeNetworkState, view: NetworkView) -> str:
    name, spec = view.network.name, view.network.spec
    if spec.driver not in ("", DRIVER):
        return f"network {name}: networks of driver {spec.driver} cannot span nodes here"
    if spec.options.get(ENCRYPTED, "false").lower() not in ("false", "0"):
        return f"network {name} is to be encrypted: this engine cannot encrypt between nodes"
    if not state.data_path_addr:
        return f"network {name}: this node has no address that other nodes send to"
    if ip_address(state.data_path_addr).version != 4:
        return f"network {name}: other nodes cannot be reached over IPv6 ({state.data_path_addr})"
    if not any(subnet.vxlan_id and ":" not in subnet.subnet for subnet in view.network.subnets):
        return f"network {name} has no subnet yet"
    return ""
