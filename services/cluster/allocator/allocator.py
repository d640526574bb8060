"""The rule that gives networks, services and tasks what they need of addresses and ports."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from services.cluster.allocator import subnets
from services.cluster.allocator.claims import Claims
from services.cluster.allocator.endpoints import (
    OVERLAY,
    attachment_configs,
    endpoint_of,
    is_allocated,
    task_attachments,
)
from services.cluster.allocator.ports import PortBook
from services.cluster.model.batches import batches
from services.cluster.model.objects import (
    ClusterNetwork,
    LeavingNetwork,
    Node,
    Service,
    Stored,
    Task,
)
from services.cluster.model.snapshot import Change, Decision, Diff, Put, Snapshot
from services.cluster.model.task_state import TaskState

MAX_CHANGES: Final = 250
"""What one decision asks for at most, so that none takes long; the next one goes on at once."""

RETRY_EVERY: Final = timedelta(seconds=1)
"""How often what could not be given is tried again while something comes free."""


class Allocator:
    """Moves tasks from NEW to PENDING once all that they need is theirs."""

    def __init__(self) -> None:
        self._claims = Claims()
        self._ports = PortBook()
        self._new: dict[str, set[str]] = {}  # tasks that are NEW, by service
        self._open: dict[str, None] = {}  # services to look at, in the order in which they came
        self._networks: dict[str, None] = {}  # networks to look at
        self._refused: dict[str, str] = {}  # what could not be given, and why: by service, network,
        # and for tasks of no service (containers in an attachable network) by task
        self._said: dict[str, str] = {}  # what was noted of them, so that it is noted once
        self._has_news = False  # for what was refused
        self._tried_at: datetime | None = None
        self._unsure: set[tuple[type, str]] = set()  # given by the last decision

    def decide(self, snapshot: Snapshot, diff: Diff, now: datetime) -> Decision:
        """What is given now."""
        if diff.is_whole:
            self._begin_anew(snapshot)
        else:
            self._take_in(snapshot, diff)
        again_at = self._try_refused_again(snapshot, now)
        changes: list[Change] = []
        notes: list[str] = []
        self._give_to_networks(snapshot, now, changes, notes)
        for service_id in list(self._open):
            if len(changes) >= MAX_CHANGES:
                break
            self._give_to_service(service_id, snapshot, now, changes, notes)
        again_in_s = None if again_at is None else max(0.0, (again_at - now).total_seconds())
        if changes:
            again_in_s = 0.0
        return Decision(
            transactions=batches((change,) for change in changes),
            again_in_s=again_in_s,
            notes=tuple(notes),
        )

    # What has changed.

    def _begin_anew(self, snapshot: Snapshot) -> None:
        self._claims, self._ports = Claims(), PortBook()
        self._new.clear()
        self._open.clear()
        self._refused.clear()
        self._said.clear()
        self._unsure = set()
        networks = sorted(snapshot.networks.values(), key=_age)
        self._networks = dict.fromkeys(network.id for network in networks)
        for network in networks:
            self._claims.put_network(network)
        for service in sorted(snapshot.services.values(), key=_age):
            self._note_service(service)
        for task in snapshot.tasks.values():
            self._note_task(task)

    def _take_in(self, snapshot: Snapshot, diff: Diff) -> None:
        touched = dict.fromkeys(self._unsure)
        self._unsure = set()
        touched.update(dict.fromkeys((type(one), one.id) for one in (*diff.put, *diff.deleted)))
        gone = {(type(one), one.id): one for one in diff.deleted}
        for key in touched:
            kind, id = key
            if kind is Task:
                task = snapshot.tasks.get(id)
                if task is not None:
                    self._note_task(task)
                elif isinstance(left := gone.get(key), Task):
                    self._note_task_gone(left)
                else:
                    self._claims.hold(("task", id), ())
            elif kind is Service:
                service = snapshot.services.get(id)
                if service is not None:
                    self._note_service(service)
                else:
                    self._note_service_gone(id)
            elif kind is ClusterNetwork:
                self._note_network(snapshot, id)
            elif kind is LeavingNetwork:
                self._note_left()
            elif kind is Node:
                self._note_node(snapshot, id)

    def _note_task(self, task: Task) -> None:
        freed, fresh = self._claims.put_task(task)
        self._has_news |= freed
        self._networks.update(dict.fromkeys(fresh))
        is_new = task.status.state is TaskState.NEW and task.desired_state <= TaskState.COMPLETE
        if is_new:
            self._new.setdefault(task.service_id, set()).add(task.id)
            if task.service_id not in self._refused:
                self._open[task.service_id] = None
        else:
            self._no_longer_new(task)

    def _note_task_gone(self, task: Task) -> None:
        self._has_news |= self._claims.remove_task(task)
        self._no_longer_new(task)

    def _no_longer_new(self, task: Task) -> None:
        waiting = self._new.get(task.service_id)
        if not task.service_id:
            self._refused.pop(task.id, None)
            self._said.pop(task.id, None)
        if waiting is not None:
            waiting.discard(task.id)
            if not waiting:
                del self._new[task.service_id]

    def _note_service(self, service: Service) -> None:
        self._claims.put_service(service)
        self._ports.put(service.id, service.endpoint.ports if service.endpoint else [])
        self._refused.pop(service.id, None)
        self._open[service.id] = None

    def _note_service_gone(self, service_id: str) -> None:
        self._claims.remove_service(service_id)
        self._ports.release(service_id)
        self._refused.pop(service_id, None)
        self._said.pop(service_id, None)
        self._open.pop(service_id, None)
        self._has_news = True

    def _note_network(self, snapshot: Snapshot, network_id: str) -> None:
        network = snapshot.networks.get(network_id)
        if network is not None:
            self._claims.put_network(network)
            self._networks[network_id] = None
        else:
            self._claims.remove_network(network_id)
            self._networks.pop(network_id, None)
            self._refused.pop(network_id, None)
            self._said.pop(network_id, None)
        self._note_left()

    def _note_left(self) -> None:
        self._has_news = True
        self._tried_at = None  # whoever waits for a network has waited long enough

    def _note_node(self, snapshot: Snapshot, node_id: str) -> None:
        for network in snapshot.networks.values():
            if (node_id in snapshot.nodes) != (node_id in network.balancer_addrs):
                self._networks[network.id] = None

    def _try_refused_again(self, snapshot: Snapshot, now: datetime) -> datetime | None:
        """Look again at what could not be given, or say when that may be."""
        if not self._refused or not self._has_news:
            return None
        if self._tried_at is not None and now < self._tried_at + RETRY_EVERY:
            return self._tried_at + RETRY_EVERY
        for id in self._refused:
            if id in snapshot.networks:
                self._networks[id] = None
            else:
                self._open[id if id in snapshot.services else ""] = None
        self._refused.clear()
        self._has_news = False
        self._tried_at = now
        return None

    # What is given.

    def _give_to_networks(
        self, snapshot: Snapshot, now: datetime, changes: list[Change], notes: list[str]
    ) -> None:
        given: list[ClusterNetwork] = []
        for network_id in list(self._networks):
            network = snapshot.networks.get(network_id)
            if network is None or network.spec.driver != OVERLAY:
                del self._networks[network_id]
                continue
            after = self._with_subnets(network, snapshot, given, notes)
            after = self._with_balancers(after, snapshot, notes)
            if after is network:
                del self._networks[network_id]  # else it stays until the store has it
                continue
            given.append(after)
            changes.append(Put(replace(after, updated_at=now)))
            self._unsure.add((ClusterNetwork, network_id))

    def _with_subnets(
        self,
        network: ClusterNetwork,
        snapshot: Snapshot,
        given: list[ClusterNetwork],
        notes: list[str],
    ) -> ClusterNetwork:
        if network.subnets:
            return network
        leaving = (one.network for one in snapshot.leaving_networks.values())
        present = (*snapshot.networks.values(), *leaving, *given)
        others = [one for one in present if one.id != network.id]
        try:
            allocated = subnets.allocate(network, snapshot.cluster, others)
        except subnets.CannotAllocate as refusal:
            self._refuse(network.id, str(refusal), notes)
            return network
        return replace(network, subnets=allocated)

    def _with_balancers(
        self, network: ClusterNetwork, snapshot: Snapshot, notes: list[str]
    ) -> ClusterNetwork:
        """Each node that takes part has an address: in the ingress network all of them do."""
        book = self._claims.books.get(network.id)
        if book is None:
            return network
        has, present = network.balancer_addrs, self._claims.present
        if network.spec.ingress:
            wanted = list(snapshot.nodes)
        else:
            wanted = [id for id in snapshot.nodes if present[network.id, id] > 0]
        if all(id in has for id in wanted) and all(id in snapshot.nodes for id in has):
            return network
        addrs = {id: has[id] for id in wanted if id in has}
        for node_id in wanted:
            if node_id not in addrs:
                taken = book.take()
                if taken is None:
                    said = f"network {network.spec.name} has no address left for node {node_id}"
                    self._refuse(network.id, said, notes)
                    break
                addrs[node_id] = taken[0]
        after = replace(network, balancer_addrs=addrs) if addrs != has else network
        self._claims.put_network(after)
        return after

    def _give_to_service(
        self,
        service_id: str,
        snapshot: Snapshot,
        now: datetime,
        changes: list[Change],
        notes: list[str],
    ) -> None:
        """A service's ports and virtual addresses; its tasks' once the store has those."""
        service = snapshot.services.get(service_id)
        if service is not None and not is_allocated(service, snapshot):
            endpoint = endpoint_of(service, snapshot, self._claims, self._ports)
            if isinstance(endpoint, str):
                self._open.pop(service_id)
                self._refuse(service_id, f"service {service.spec.name}: {endpoint}", notes)
                return
            after = replace(service, endpoint=endpoint, updated_at=now)
            self._claims.put_service(after)
            self._ports.put(service_id, endpoint.ports)
            self._unsure.add((Service, service_id))
            changes.append(Put(after))
            return
        if service is not None or not service_id:
            for task_id in sorted(self._new.get(service_id, ())):
                if task_id in self._refused:
                    continue
                if len(changes) >= MAX_CHANGES:
                    return
                task = snapshot.tasks.get(task_id)
                if task is None:
                    continue
                refusal = self._give_to_task(task, service, snapshot, now, changes)
                if refusal:
                    self._refuse(service_id or task_id, refusal, notes)
                    if service_id:  # its other tasks need the same
                        self._open.pop(service_id)
                        return
        self._open.pop(service_id)
        if any(id not in self._refused for id in self._new.get(service_id, ())):
            self._open[service_id] = None  # until the store has them

    def _give_to_task(
        self,
        task: Task,
        service: Service | None,
        snapshot: Snapshot,
        now: datetime,
        changes: list[Change],
    ) -> str:
        """Make one task PENDING; a text says why it cannot be."""
        configs = attachment_configs(task.spec, service, snapshot)
        attachments = task_attachments(configs, snapshot, self._claims)
        if isinstance(attachments, str):
            return f"task {task.name}: {attachments}"
        pending = replace(
            task,
            networks=attachments,
            endpoint=service.endpoint if service is not None else task.endpoint,
            status=replace(
                task.status,
                state=TaskState.PENDING,
                timestamp=now,
                message="pending task scheduling",
            ),
            updated_at=now,
        )
        self._claims.put_task(pending)
        self._unsure.add((Task, task.id))
        changes.append(Put(pending))
        return ""

    def _refuse(self, id: str, reason: str, notes: list[str]) -> None:
        if self._said.get(id) != reason:
            notes.append(reason)
        self._refused[id] = self._said[id] = reason


def _age(stored: Stored) -> tuple[datetime, int, str]:
    """The older an object, the sooner it gets what it needs."""
    return stored.created_at, stored.version, stored.id
