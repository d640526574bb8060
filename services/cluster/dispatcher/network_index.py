"""Views of the cluster's networks, kept up with the store and shared by all sessions.

A view is made when somebody asks for it, and thrown away when something in it has changed; one that
did not change stays the same object, which is how sessions see that there is nothing to tell.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.cluster.dispatcher.values import Backend, NetworkPeer, NetworkView, ServiceView
from services.cluster.model.objects import (
    ClusterNetwork,
    Node,
    NodeState,
    Service,
    Stored,
    Task,
)
from services.cluster.model.snapshot import Diff, Snapshot
from services.cluster.model.task_state import TaskState


def bare(address: str) -> str:
    """An address without its prefix length."""
    return address.partition("/")[0]


def takes_part(task: Task) -> bool:
    """Whether a task has addresses in use: it has a node, and has not ended."""
    return bool(task.node_id) and not task.status.state.is_ended


def is_backend(task: Task, nodes: Snapshot) -> bool:
    """Whether connections may go to a task: it runs, is to run, and its node is heard of."""
    node = nodes.nodes.get(task.node_id)
    return (
        task.status.state == TaskState.RUNNING
        and task.desired_state.is_to_run
        and node is not None
        and node.status.state != NodeState.DOWN
    )


def _shows(task: Task) -> tuple[object, ...]:
    """All of a task that a view may show."""
    is_running = task.status.state == TaskState.RUNNING and task.desired_state.is_to_run
    return takes_part(task), is_running, task.node_id, task.networks, task.name, task.service_id


def attached_networks(service: Service) -> set[str]:
    """Networks that a service answers on, allocated or asked for."""
    endpoint = service.endpoint.virtual_ips if service.endpoint else []
    asked = service.spec.task_template.networks or service.spec.networks
    return {vip.network_id for vip in endpoint} | {network.target for network in asked}


class NetworkIndex:
    """Who is in which network. `advance` is called with each snapshot, in order."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._views: dict[str, NetworkView] = {}
        self._tasks: dict[str, Task] = {}  # those that take part
        self._tasks_in: dict[str, dict[str, Task]] = {}  # by network, of the same tasks
        self._services_in: dict[str, set[str]] = {}
        self._networks_of_service: dict[str, set[str]] = {}
        self._ingress: str | None = None
        self._stale_now: set[str] = set()  # by the diff that is being read
        self._read_whole()

    @property
    def ingress(self) -> str | None:
        """The ingress network's id, if there is one."""
        return self._ingress

    def advance(self, snapshot: Snapshot, diff: Diff) -> frozenset[str]:
        """Go to a later snapshot, and say which networks look different now.

        Costs what has changed, unless `diff` is whole: then any network may look different.
        """
        self._snapshot = snapshot
        self._stale_now = set()
        if diff.is_whole:
            self._read_whole()
        else:
            for stored in diff.deleted:
                self._drop(stored)
            for stored in diff.put:
                self._put(stored)
        return frozenset(self._stale_now)

    def view(self, network_id: str) -> NetworkView | None:
        """A network as it is now; None if there is none of that id."""
        network = self._snapshot.networks.get(network_id)
        if network is None:
            return None
        view = self._views.get(network_id)
        if view is None:
            view = self._views[network_id] = self._make(network)
        return view

    def _read_whole(self) -> None:
        for table in (self._views, self._tasks, self._tasks_in, self._services_in):
            table.clear()
        self._networks_of_service.clear()
        self._ingress = None
        for network in self._snapshot.networks.values():
            self._put(network)
        for service in self._snapshot.services.values():
            self._put(service)
        for task in self._snapshot.tasks.values():
            self._put_task(task)

    def _put(self, stored: Stored) -> None:
        match stored:
            case Task():
                self._put_task(stored)
            case Service():
                self._put_service(stored)
            case ClusterNetwork():
                self._stale((stored.id,))
                if stored.spec.ingress:
                    self._ingress = stored.id
            case Node():
                # Which of its networks show a node's address or state is cheap to ask and rare.
                tasks = self._snapshot.tasks_of_node(stored.id)
                self._stale(place.network_id for task in tasks for place in task.networks)
                self._stale(
                    network.id
                    for network in self._snapshot.networks.values()
                    if stored.id in network.balancer_addrs
                )
            case _:
                pass

    def _drop(self, stored: Stored) -> None:
        match stored:
            case Task():
                self._forget_task(stored.id)
            case Service():
                self._put_service(stored, is_gone=True)
            case ClusterNetwork():
                self._stale((stored.id,))
                if self._ingress == stored.id:
                    self._ingress = None
            case Node():
                self._stale(tuple(self._snapshot.networks))
            case _:
                pass

    def _put_task(self, task: Task) -> None:
        before = self._tasks.get(task.id)
        if before is not None and _shows(before) == _shows(task):
            self._tasks[task.id] = task
            for place in task.networks:
                self._tasks_in[place.network_id][task.id] = task
            return
        self._forget_task(task.id)
        if not takes_part(task):
            return
        self._tasks[task.id] = task
        for place in task.networks:
            self._tasks_in.setdefault(place.network_id, {})[task.id] = task
        self._stale(place.network_id for place in task.networks)

    def _forget_task(self, task_id: str) -> None:
        before = self._tasks.pop(task_id, None)
        if before is None:
            return
        for place in before.networks:
            self._tasks_in[place.network_id].pop(task_id, None)
        self._stale(place.network_id for place in before.networks)

    def _put_service(self, service: Service, *, is_gone: bool = False) -> None:
        before = self._networks_of_service.pop(service.id, set())
        after = set() if is_gone else attached_networks(service)
        for network_id in before - after:
            self._services_in[network_id].discard(service.id)
        for network_id in after:
            self._services_in.setdefault(network_id, set()).add(service.id)
        if after:
            self._networks_of_service[service.id] = after
        self._stale(before | after)

    def _stale(self, network_ids: Iterable[str]) -> None:
        for network_id in network_ids:
            self._views.pop(network_id, None)
            self._stale_now.add(network_id)

    def _make(self, network: ClusterNetwork) -> NetworkView:
        tasks = sorted(self._tasks_in.get(network.id, {}).values(), key=lambda task: task.id)
        backends: dict[str, list[Backend]] = {}
        for task in tasks:
            if is_backend(task, self._snapshot):
                backend = _backend(task, network)
                if backend is not None:
                    backends.setdefault(task.service_id, []).append(backend)
        services = (
            self._service_view(self._snapshot.services[service_id], network, backends)
            for service_id in sorted(self._services_in.get(network.id, ()))
            if service_id in self._snapshot.services
        )
        return NetworkView(
            network=network,
            peers=self._peers(network, tasks),
            services=tuple(services),
            containers=tuple(backends.get("", ())),
        )

    def _peers(self, network: ClusterNetwork, tasks: Iterable[Task]) -> tuple[NetworkPeer, ...]:
        addresses: dict[str, list[str]] = {}
        for node_id, address in sorted(network.balancer_addrs.items()):
            addresses.setdefault(node_id, []).append(bare(address))
        for task in tasks:
            addresses.setdefault(task.node_id, []).extend(_addresses(task, network))
        nodes = self._snapshot.nodes
        return tuple(
            NetworkPeer(
                node_id=node_id,
                data_path_addr=nodes[node_id].data_path_addr,
                addresses=tuple(of_node),
            )
            for node_id, of_node in addresses.items()
            if node_id in nodes
        )

    @staticmethod
    def _service_view(
        service: Service, network: ClusterNetwork, backends: dict[str, list[Backend]]
    ) -> ServiceView:
        endpoint = service.endpoint
        vips = endpoint.virtual_ips if endpoint else []
        ports = endpoint.ports if endpoint and network.spec.ingress else []
        asked = service.spec.task_template.networks or service.spec.networks
        return ServiceView(
            id=service.id,
            # The ingress network has no names: every node gets it, and needs only its ports.
            name="" if network.spec.ingress else service.name,
            aliases=tuple(
                alias for place in asked if place.target == network.id for alias in place.aliases
            ),
            vip=next((bare(vip.addr) for vip in vips if vip.network_id == network.id), ""),
            ports=tuple(port for port in ports if port.publish_mode == "ingress"),
            backends=tuple(backends.get(service.id, ())),
        )


def _addresses(task: Task, network: ClusterNetwork) -> list[str]:
    return [
        bare(address)
        for place in task.networks
        if place.network_id == network.id
        for address in place.addresses
    ]


def _backend(task: Task, network: ClusterNetwork) -> Backend | None:
    """None while the task has no address in the network."""
    addresses = _addresses(task, network)
    if not addresses:
        return None
    has_names = not network.spec.ingress
    return Backend(
        task_id=task.id,
        name=task.name if has_names else "",
        address=addresses[0],
        node_id=task.node_id,
        aliases=tuple(
            alias
            for place in task.networks
            if has_names and place.network_id == network.id
            for alias in place.aliases
        ),
    )
