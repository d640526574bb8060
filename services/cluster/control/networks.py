"""The networks that span the cluster.

Source: swarmkit, manager/controlapi/network.go; moby, daemon/server/router/network.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Final

from services.cluster.control.changes import change_any_version, commit
from services.cluster.control.find import find
from services.cluster.control.names import check_service_name
from services.cluster.control.node_local import LABEL, as_spanning, is_node_local
from services.cluster.control.ports import ControlStore
from services.cluster.control.refusals import denied, exists, invalid, precondition
from services.cluster.control.service_specs import networks_of
from services.cluster.model.networks_of_tasks import holds_network
from services.cluster.model.objects import ClusterNetwork, LeavingNetwork, Node, Service, Task
from services.cluster.model.snapshot import Change, Delete, Put, Snapshot
from services.cluster.model.specs import IpamRange, NetworkSpec
from services.cluster.model.task_state import TaskState
from services.cluster.model.wire import new_id, utc_now
from services.cluster.store.contract import NameTaken
from services.errors import Conflict, Forbidden, InvalidParameter, NotFound, NotSupported

PREDEFINED: Final = ("bridge", "host", "none")
INTERNAL_LABELS: Final = ("com.docker.swarm.internal", LABEL)


class ClusterNetworks:
    """Operations on networks of swarm scope."""

    def __init__(self, store: ControlStore) -> None:
        self._store = store

    def list(self) -> Sequence[ClusterNetwork]:
        """All that span nodes, by age."""
        networks = [
            one for one in self._store.snapshot().networks.values() if not is_node_local(one)
        ]
        return sorted(networks, key=lambda one: (one.created_at, one.id))

    def get(self, ref: str) -> ClusterNetwork:
        """By id, name or beginning of its id. Raises NotFound, or InvalidParameter of several."""
        spanning = {one.id: one for one in self.list()}
        return find("network", spanning, ref)

    def node_local(self, ref: str) -> ClusterNetwork | None:
        """What stands for a network that each node has of its own, if `ref` means one."""
        return as_spanning(self._store.snapshot(), ref)

    def users(self, network: ClusterNetwork) -> Sequence[Service]:
        """The services whose tasks are in it."""
        return [
            one
            for one in self._store.snapshot().services.values()
            if any(network.id == joined.target for joined in networks_of(one.spec))
        ]

    def peers(self, network: ClusterNetwork) -> Sequence[Node]:
        """The nodes that have it: where containers are in it; all of them for the ingress one."""
        snapshot = self._store.snapshot()
        if network.spec.ingress:
            found = set(snapshot.nodes)
        else:
            tasks = snapshot.tasks.values()
            found = {task.node_id for task in tasks if holds_network(task, network.id)}
        return [snapshot.nodes[id] for id in sorted(found) if id in snapshot.nodes]

    async def create(self, spec: NetworkSpec) -> ClusterNetwork:
        """Have one more.

        Raises:
            InvalidParameter: name or addresses are no good.
            Forbidden: the name, or a label, is not for users.
            Conflict: the name is taken, or there is an ingress network.
            NotSupported: a driver that cannot span nodes.
        """
        if spec.name in PREDEFINED:
            raise Forbidden(f"{spec.name} is a pre-defined network and cannot be created")
        check_network(spec)
        present = self._store.snapshot().networks.values()
        if any(one.name == spec.name for one in present):
            raise _taken(spec.name)
        ingress = next((one for one in present if one.spec.ingress), None)
        if spec.ingress and ingress is not None:
            raise exists(f"ingress network ({ingress.id}) is already present")
        now = utc_now()
        network = ClusterNetwork(id=new_id(), created_at=now, updated_at=now, spec=spec)
        try:
            await commit(self._store, Put(network))
        except NameTaken as error:
            raise _taken(spec.name) from error
        return network

    async def remove(self, ref: str) -> None:
        """Have it no more. Tasks that are to end may be in it: nodes have it until they have ended,
        and its subnets and VXLAN ids are nobody's until then.

        Raises:
            NotFound: there is none.
            InvalidParameter: services or tasks are in it.
            Forbidden: it is not for users to remove.
        """

        def decide(snapshot: Snapshot) -> Sequence[Change]:
            network = self.get(ref)
            check_removal(network, snapshot)
            if not any(holds_network(task, network.id) for task in snapshot.tasks.values()):
                return (Delete(network),)
            now = utc_now()
            leaving = LeavingNetwork(id=network.id, created_at=now, updated_at=now, network=network)
            return Delete(network), Put(leaving)

        await change_any_version(self._store, decide)

    async def prune(self, chosen: Sequence[ClusterNetwork]) -> Sequence[str]:
        """Remove those of `chosen` that nobody uses; their names."""
        names = []
        for network in chosen:
            try:
                await self.remove(network.id)
            except (InvalidParameter, NotFound):
                continue  # in use, which is what a prune leaves, or gone meanwhile
            names.append(network.name)
        return names


def check_network(spec: NetworkSpec) -> None:
    """What a spec must be. Pure; raises as `ClusterNetworks.create`."""
    if spec.driver != "overlay":
        raise NotSupported(f"networks of the driver {spec.driver} cannot span nodes: overlay's can")
    if spec.attachable and spec.ingress:
        raise invalid("ingress network cannot be attachable")
    check_service_name(spec.name)
    for label in INTERNAL_LABELS:
        if label in spec.labels:
            raise denied(
                f"label {label} is for predefined internal networks and cannot be applied by users"
            )
    for range_ in spec.ipam:
        _check_range(range_)


def check_removal(network: ClusterNetwork, snapshot: Snapshot) -> None:
    """Whether nobody needs it. Raises as `ClusterNetworks.remove`."""
    if network.spec.ingress:
        _check_ingress_removal(snapshot)
        return
    for service in snapshot.services.values():
        if any(one.target == network.id for one in networks_of(service.spec)):
            raise precondition(f"network {network.id} is in use by service {service.id}")
    for task in snapshot.tasks.values():
        if holds_network(task, network.id) and not _is_to_end(task, snapshot):
            raise precondition(f"network {network.id} is in use by task {task.id}")


def _is_to_end(task: Task, snapshot: Snapshot) -> bool:
    """Also of a service that is gone, though nobody has told the task yet."""
    has_service = not task.service_id or task.service_id in snapshot.services
    return not has_service or task.desired_state > TaskState.COMPLETE


def needs_ingress(service: Service) -> bool:
    """Whether it publishes ports on every node."""
    endpoint = service.spec.endpoint_spec
    return endpoint is not None and any(port.publish_mode != "host" for port in endpoint.ports)


def _check_ingress_removal(snapshot: Snapshot) -> None:
    for service in snapshot.services.values():
        if needs_ingress(service):
            raise precondition(
                f"ingress network cannot be removed because service {service.id} depends on it"
            )


def _check_range(range_: IpamRange) -> None:
    subnet_text = range_.subnet
    try:
        subnet = ip_network(subnet_text, strict=False)
    except ValueError as error:
        raise invalid(f"ipam configuration: invalid subnet {subnet_text}") from error
    if range_.ip_range:
        try:
            inner = ip_network(range_.ip_range, strict=False)
        except ValueError as error:
            text = f"ipam configuration: invalid range {range_.ip_range}"
            raise invalid(text) from error
        if inner.network_address not in subnet:
            raise invalid(
                f"ipam configuration: subnet {subnet_text} does not contain range {range_.ip_range}"
            )
    if range_.gateway:
        try:
            gateway = ip_address(range_.gateway)
        except ValueError as error:
            text = f"ipam configuration: invalid gateway {range_.gateway}"
            raise invalid(text) from error
        if gateway not in subnet:
            raise invalid(
                f"ipam configuration: subnet {subnet_text} does not contain gateway "
                f"{range_.gateway}"
            )


def _taken(name: str) -> Conflict:
    return Conflict(f"network with name {name} already exists")
