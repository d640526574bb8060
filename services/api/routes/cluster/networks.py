"""The part of tag Network that is about networks of swarm scope, for a manager's network routes.

Source: moby, daemon/server/router/network (network_routes.go).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.api.cluster_face import ClusterFace
from services.api.types.cluster.networks import (
    as_network,
    cluster_network_to_wire,
    peer_to_wire,
    spec_of,
)
from services.cluster.control.control import Control
from services.cluster.model.objects import ClusterNetwork, Service, Task
from services.cluster.model.task_state import TaskState
from services.errors import NotFound
from services.networks import Network, NetworkFilters, NetworkRequest


class Routes:
    """What network routes ask of a manager."""

    def __init__(self, face: ClusterFace) -> None:
        self._face = face

    def list(self, filters: NetworkFilters) -> Mapping[str, dict[str, Any]]:
        """Those that the filters let pass, as answers, by id."""
        networks = self._face.control().networks
        return {
            one.id: cluster_network_to_wire(one)
            for one in networks.list()
            if filters.choose(as_network(one), bool(networks.users(one)))
        }

    def has_name(self, name: str) -> bool:
        """Whether a network of the swarm is called so."""
        return any(one.name == name for one in self._face.control().networks.list())

    def find(self, ref: str, *, exactly: bool) -> ClusterNetwork | None:
        """By id or name; unless `exactly`, by the beginning of an id too."""
        networks = self._face.control().networks
        try:
            found = networks.get(ref)
        except NotFound:
            return None
        return found if not exactly or ref in (found.id, found.name) else None

    def node_local(self, ref: str) -> ClusterNetwork | None:
        """What stands for a network that each node has of its own: clients look it up by scope."""
        return self._face.control().networks.node_local(ref)

    async def create(self, request: NetworkRequest) -> str:
        """The id of a network that was made. Raises as `ClusterNetworks.create`."""
        return (await self._face.control().networks.create(spec_of(request))).id

    async def remove(self, network: ClusterNetwork) -> None:
        """Raises as `ClusterNetworks.remove`."""
        await self._face.control().networks.remove(network.id)

    async def prune(self, filters: NetworkFilters) -> Sequence[str]:
        """The names of those that nobody used and that are gone now. The ingress network stays."""
        networks = self._face.control().networks
        chosen = [
            one
            for one in networks.list()
            if not one.spec.ingress and filters.choose(as_network(one), bool(networks.users(one)))
        ]
        return await networks.prune(chosen)

    def to_wire(self, network: ClusterNetwork, *, verbose: bool) -> dict[str, Any]:
        """An inspected network, but for the containers of this node that are in it."""
        control = self._face.control()
        wire = cluster_network_to_wire(network)
        if peers := control.networks.peers(network):
            wire["Peers"] = [peer_to_wire(node) for node in peers]
        if verbose:
            wire["Services"] = {
                service.name: _service_to_wire(control, network, service)
                for service in control.networks.users(network)
            }
        return wire

    def as_network(self, network: ClusterNetwork) -> Network:
        """The network as this engine's own."""
        return as_network(network)


def _service_to_wire(control: Control, network: ClusterNetwork, service: Service) -> dict[str, Any]:
    """Schema ServiceInfo: where a service is to be found in the network."""
    endpoint = service.endpoint
    vips = endpoint.virtual_ips if endpoint else []
    ports = endpoint.ports if endpoint else []
    tasks = control.tasks.list({"service": (service.id,), "desired-state": ("running",)})
    running = [one.task for one in tasks if one.task.status.state is TaskState.RUNNING]
    return {
        "VIP": next(
            (one.addr.partition("/")[0] for one in vips if one.network_id == network.id), ""
        ),
        "Ports": [f"Target: {port.target_port}, Publish: {port.published_port}" for port in ports],
        "LocalLBIndex": 0,
        "Tasks": [_task_to_wire(control, network, task) for task in running],
    }


def _task_to_wire(control: Control, network: ClusterNetwork, task: Task) -> dict[str, Any]:
    """Schema Task of a network's services."""
    places = [one for one in task.networks if one.network_id == network.id]
    addresses = [address for one in places for address in one.addresses]
    host = control.nodes.get(task.node_id).node if task.node_id else None
    return {
        "Name": task.name,
        "EndpointID": "",
        "EndpointIP": addresses[0].partition("/")[0] if addresses else "",
        "Info": {"Host IP": (host.data_path_addr or host.status.addr) if host else ""},
    }
