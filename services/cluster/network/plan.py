"""From what the managers say to what this node has to make, computed once for each change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from services.cluster.dispatcher.values import NetworkView
from services.cluster.model.objects import NetworkKey
from services.cluster.network.state import NodeNetworkState, neighbours, own_address
from services.cluster.network.targets import IngressPort, names, port_targets, service_targets
from services.networks.dns import NamedEndpoint
from services.networks.model import Network, Subnet, Underlay
from services.networks.overlay.values import (
    DRIVER,
    SWARM_SCOPE,
    Neighbour,
    encrypted_port,
    wants_encryption,
)

VXLAN_IDS: Final = "com.docker.network.driver.overlay.vxlanid_list"
"""dockerd's option, which tells clients what was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """One network here, as `view` says. `problem` says why it cannot be had, "" if it can.

    `own_address` is the node's own in it, "" for none; `ports` are of the ingress network only.
    """

    view: NetworkView
    network: Network
    problem: str = ""
    neighbours: frozenset[Neighbour] = frozenset()
    names: Mapping[str, NamedEndpoint] = field(default_factory=dict)
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_ingress: bool = False
    own_address: str = ""
    ports: Mapping[IngressPort, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_encrypted(self) -> bool:
        """Whether what goes to other nodes must not be in plain text."""
        return wants_encryption(self.view.network.spec.options)


@dataclass(frozen=True, slots=True)
class Place:
    """A node as others know it: its id, and where they send to."""

    node_id: str = ""
    data_path_addr: str = ""
    data_path_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """All of them, by id, and for whom they were made. `keys` as in the state."""

    place: Place
    networks: Mapping[str, NetworkPlan]
    keys: tuple[NetworkKey, ...] | None = None

    @property
    def ingress(self) -> NetworkPlan | None:
        """The network that published ports are led over."""
        return next((one for one in self.networks.values() if one.is_ingress), None)

    @property
    def encrypted_peers(self) -> frozenset[str]:
        """Where the other nodes are that are in an encrypted network with this one."""
        encrypted = (one for one in self.networks.values() if one.is_encrypted and not one.problem)
        return frozenset(neighbour.node for one in encrypted for neighbour in one.neighbours)

    def services_in(self, network_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """What who is in these networks reaches by services' own addresses."""
        found: dict[str, tuple[str, ...]] = {}
        for network_id in network_ids:
            plan = self.networks.get(network_id)
            if plan is not None:
                found |= plan.services
        return found


def plan_node(state: NodeNetworkState, before: NodePlan | None = None) -> NodePlan:
    """What the node has to make. What `before` has of the same views is taken from it."""
    place = Place(state.node_id, state.data_path_addr, state.data_path_port)
    known = before.networks if before is not None and before.place == place else {}
    networks: dict[str, NetworkPlan] = {}
    for view in state.networks:
        plan = known.get(view.network.id)
        is_same = plan is not None and plan.view is view
        networks[view.network.id] = plan if plan and is_same else _plan_network(state, view)
    return NodePlan(place=place, networks=networks, keys=state.keys)


def _plan_network(state: NodeNetworkState, view: NetworkView) -> NetworkPlan:
    network, is_ingress = network_of(state, view), view.network.spec.ingress
    try:
        return NetworkPlan(
            view=view,
            network=network,
            problem=_problem(state, view),
            neighbours=neighbours(state, view),
            names=names(view),
            services={} if is_ingress else service_targets(view),
            is_ingress=is_ingress,
            own_address=own_address(state, view),
            ports=port_targets(view) if is_ingress else {},
        )
    except (ValueError, OSError) as error:  # an address that is none: the others are had
        problem = f"network {network.name} cannot be understood: {error}"
        return NetworkPlan(view=view, network=network, problem=problem)


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
        underlay=Underlay(address=state.data_path_addr, port=_port(state, view)),
    )


def _port(state: NodeNetworkState, view: NetworkView) -> int:
    if wants_encryption(view.network.spec.options):
        return encrypted_port(state.data_path_port)
    return state.data_path_port


def _problem(state: NodeNetworkState, view: NetworkView) -> str:
    name, spec = view.network.name, view.network.spec
    if spec.driver not in ("", DRIVER):
        return f"network {name}: networks of driver {spec.driver} cannot span nodes here"
    if not state.data_path_addr:
        return f"network {name}: this node has no address that other nodes send to"
    if ip_address(state.data_path_addr).version != 4:
        return f"network {name}: other nodes cannot be reached over IPv6 ({state.data_path_addr})"
    if not any(subnet.vxlan_id and ":" not in subnet.subnet for subnet in view.network.subnets):
        return f"network {name} has no subnet yet"
    return ""
