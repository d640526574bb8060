"""Views of the cluster's networks, kept up with the store and shared by all sessions.

A view is made when somebody asks for it first. When something in it may have changed it is made
anew, at once if it is small; a large one not more often than its size allows. One that has not
changed stays the same object, which is how sessions see that there is nothing to tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.cluster.dispatcher.values import Backend, NetworkPeer, NetworkView, ServiceView
from services.cluster.model.networks_of_tasks import network_of
from services.cluster.model.objects import (
    ClusterNetwork,
    LeavingNetwork,
    Node,
    NodeState,
    Service,
    Stored,
    Task,
)
from services.cluster.model.snapshot import Diff, Snapshot
from services.cluster.model.task_state import TaskState

# A view is made anew so many seconds after the last time, for each address in it: making one of
# 10,000 addresses takes 50 ms, and telling 1,000 nodes of a change takes longer.
PER_ADDRESS_S: Final = 20e-6


@dataclass(frozen=True, slots=True)
class _Made:
    """A view, and when it may be made anew, in trio's time."""

    view: NetworkView
    not_before: float


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
        self._made: dict[str, _Made] = {}
        self._stale: set[str] = set()
        self._tasks: dict[str, Task] = {}  # those that take part
        self._tasks_in: dict[str, dict[str, Task]] = {}  # by network, of the same tasks
        self._services_in: dict[str, set[str]] = {}
        self._networks_of_service: dict[str, set[str]] = {}
        self._ingress: str | None = None
        self._read_whole()

    @property
    def ingress(self) -> str | None:
        """The ingress network's id, if there is one."""
        return self._ingress

    def advance(self, snapshot: Snapshot, diff: Diff) -> None:
        """Go to a later snapshot. Costs what has changed, unless `diff` is whole.

        Views stay as they were until `refresh`.
        """
        self._snapshot = snapshot
        if diff.is_whole:
            self._read_whole()
        else:
            for stored in diff.deleted:
                self._drop(stored)
            for stored in diff.put:
                self._put(stored)

    def view(self, network_id: str) -> NetworkView | None:
        """A network as it was at the last refresh; None if there is none of that id."""
        made = self._made.get(network_id)
        if made is not None:
            return made.view
        network = network_of(network_id, self._snapshot)
        if network is None:
            return None
        self._stale.discard(network_id)
        return self._keep(self._make(network), 0.0).view

    def refresh(self, now: float) -> frozenset[str]:
        """Make anew what is due, and say which networks look different. `now` is trio's time."""
        different = set()
        for network_id in tuple(self._stale):
            made = self._made.get(network_id)
            if made is None:  # nobody has asked for it
                self._stale.discard(network_id)
                different.add(network_id)
            elif now >= made.not_before:
                self._stale.discard(network_id)
                if self._refresh(network_id, made.view, now):
                    different.add(network_id)
        return frozenset(different)

    def due_at(self) -> float:
        """When `refresh` has something to do, in trio's time; inf if nothing is stale."""
        times = (self._made[id].not_before for id in self._stale if id in self._made)
        return min(times, default=math.inf)

    def _refresh(self, network_id: str, before: NetworkView, now: float) -> bool:
        network = network_of(network_id, self._snapshot)
        if network is None:
            del self._made[network_id]
            return True
        after = self._make(network)
        is_different = after != before
        self._keep(after if is_different else before, now)
        return is_different

    def _keep(self, view: NetworkView, now: float) -> _Made:
        size = sum(len(peer.addresses) for peer in view.peers) + len(view.services)
        made = self._made[view.network.id] = _Made(view, now + size * PER_ADDRESS_S)
        return made

    def _read_whole(self) -> None:
        for table in (self._tasks, self._tasks_in, self._services_in):
            table.clear()
        self._stale.update(self._made)
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
                self._mark((stored.id,))
                if stored.spec.ingress:
                    self._ingress = stored.id
            case LeavingNetwork():
                self._mark((stored.id,))
            case Node():
                # Which of its networks show a node's address or state is cheap to ask and rare.
                tasks = self._snapshot.tasks_of_node(stored.id)
                self._mark(place.network_id for task in tasks for place in task.networks)
                self._mark(
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
                self._mark((stored.id,))
                if self._ingress == stored.id:
                    self._ingress = None
            case LeavingNetwork():
                self._mark((stored.id,))
            case Node():
                self._mark((*self._snapshot.networks, *self._snapshot.leaving_networks))
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
        self._mark(place.network_id for place in task.networks)

    def _forget_task(self, task_id: str) -> None:
        before = self._tasks.pop(task_id, None)
        if before is None:
            return
        for place in before.networks:
            self._tasks_in[place.network_id].pop(task_id, None)
        self._mark(place.network_id for place in before.networks)

    def _put_service(self, service: Service, *, is_gone: bool = False) -> None:
        before = self._networks_of_service.pop(service.id, set())
        after = set() if is_gone else attached_networks(service)
        for network_id in before - after:
            self._services_in[network_id].discard(service.id)
        for network_id in after:
            self._services_in.setdefault(network_id, set()).add(service.id)
        if after:
            self._networks_of_service[service.id] = after
        self._mark(before | after)

    def _mark(self, network_ids: Iterable[str]) -> None:
        """These may look different."""
        self._stale.update(network_ids)

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
                addresses=tuple(addresses[node_id]),
            )
            for node_id in sorted(addresses)
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
