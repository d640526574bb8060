"""Networks on their way to nodes: whole the first time, and after that what has changed.

A network of ten thousand addresses is a megabyte; what changes in it is a few hundred bytes, which
are the same for all nodes that know it, and made once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from protos.generated.cluster import NetworkMessage
from services.cluster.dispatcher.values import (
    Assignments,
    Backend,
    NetworkPeer,
    NetworkView,
    ServiceView,
    Told,
)
from services.cluster.model.objects import ClusterNetwork
from services.cluster.rpc.codec import decode_json, encode_json
from services.errors import InvalidParameter

T = TypeVar("T")

# Views and changes of them that are kept for the next node that needs the same.
KEPT: Final = 64


class ServiceChange(Told, frozen=True, kw_only=True):
    """`service` is without its backends, in which `put` replaces and `removed` (tasks) goes."""

    service: ServiceView
    put: tuple[Backend, ...] = ()
    removed: tuple[str, ...] = ()


class NetworkChange(Told, frozen=True, kw_only=True):
    """What turns one view of a network into the next; what is put replaces its namesake."""

    network: ClusterNetwork
    peers: tuple[NetworkPeer, ...] = ()
    removed_peers: tuple[str, ...] = ()
    services: tuple[ServiceChange, ...] = ()
    removed_services: tuple[str, ...] = ()
    containers: tuple[Backend, ...] = ()
    removed_containers: tuple[str, ...] = ()


def change_between(before: NetworkView, after: NetworkView) -> NetworkChange:
    """What turns one into the other; they are of one network."""
    known = _by(before.services, _service_id)
    peers, removed_peers = _delta(before.peers, after.peers, _peer_id)
    containers, removed_containers = _delta(before.containers, after.containers, _task_id)
    return NetworkChange(
        network=after.network,
        peers=peers,
        removed_peers=removed_peers,
        services=tuple(
            _service_change(known.get(service.id), service)
            for service in after.services
            if service != known.get(service.id)
        ),
        removed_services=_gone(known, _by(after.services, _service_id)),
        containers=containers,
        removed_containers=removed_containers,
    )


def changed_view(before: NetworkView, change: NetworkChange) -> NetworkView:
    """The other way round."""
    services = _by(before.services, _service_id)
    for one in change.services:
        there = services.get(one.service.id)
        backends = _merged(there.backends if there else (), one.put, one.removed, _task_id)
        services[one.service.id] = msgspec.structs.replace(one.service, backends=backends)
    for id in change.removed_services:
        services.pop(id, None)
    return NetworkView(
        network=change.network,
        peers=_merged(before.peers, change.peers, change.removed_peers, _peer_id),
        services=tuple(services[id] for id in sorted(services)),
        containers=_merged(
            before.containers, change.containers, change.removed_containers, _task_id
        ),
    )


class ViewCache:
    """Bytes of views and of changes between two of them, by identity; one for a server.

    What is in it holds its views, so that an identity cannot come to mean another one.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[
            tuple[int, int], tuple[NetworkView | None, NetworkView, NetworkMessage]
        ] = OrderedDict()

    def message(self, before: NetworkView | None, after: NetworkView) -> NetworkMessage:
        """What to send to who knows `before`."""
        key = (id(before), id(after))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][2]
        if before is None:
            made = NetworkMessage(view_json=encode_json(after))
        else:
            made = NetworkMessage(change_json=encode_json(change_between(before, after)))
        self._kept[key] = (before, after, made)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return made


class ViewSender:
    """The networks that one session knows, on the manager's side."""

    def __init__(self, cache: ViewCache) -> None:
        self._cache = cache
        self._known: dict[str, NetworkView] = {}

    def messages(self, assignments: Assignments) -> list[NetworkMessage]:
        """What to send of these assignments' networks."""
        if assignments.is_complete:
            self._known.clear()
        for id in assignments.removed_networks:
            self._known.pop(id, None)
        messages = []
        for view in assignments.networks:
            messages.append(self._cache.message(self._known.get(view.network.id), view))
            self._known[view.network.id] = view
        return messages


class ViewReceiver:
    """The networks that one session knows, on the node's side."""

    def __init__(self) -> None:
        self._known: dict[str, NetworkView] = {}

    def with_networks(
        self, assignments: Assignments, messages: Iterable[NetworkMessage]
    ) -> Assignments:
        """Assignments with their networks, each whole. Raises InvalidParameter."""
        if assignments.is_complete:
            self._known.clear()
        for id in assignments.removed_networks:
            self._known.pop(id, None)
        views = tuple(self._view(message) for message in messages)
        self._known.update({view.network.id: view for view in views})
        return msgspec.structs.replace(assignments, networks=views)

    def _view(self, message: NetworkMessage) -> NetworkView:
        if message.view_json is not None:
            return decode_json(message.view_json, NetworkView)
        if message.change_json is None:
            raise InvalidParameter("a message about a network is empty")
        change = decode_json(message.change_json, NetworkChange)
        before = self._known.get(change.network.id)
        if before is None:
            raise InvalidParameter("a network that is not known has changed")
        return changed_view(before, change)


def _service_change(before: ServiceView | None, after: ServiceView) -> ServiceChange:
    put, removed = _delta(before.backends if before else (), after.backends, _task_id)
    bare = msgspec.structs.replace(after, backends=())
    return ServiceChange(service=bare, put=put, removed=removed)


def _peer_id(peer: NetworkPeer) -> str:
    return peer.node_id


def _service_id(service: ServiceView) -> str:
    return service.id


def _task_id(backend: Backend) -> str:
    return backend.task_id


def _by(values: Iterable[T], id_of: Callable[[T], str]) -> dict[str, T]:
    return {id_of(value): value for value in values}


def _gone(before: Mapping[str, T], after: Mapping[str, T]) -> tuple[str, ...]:
    return tuple(id for id in before if id not in after)


def _delta(
    before: Iterable[T], after: Iterable[T], id_of: Callable[[T], str]
) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """What is to be put, and what is to go."""
    old, new = _by(before, id_of), _by(after, id_of)
    return tuple(value for id, value in new.items() if old.get(id) != value), _gone(old, new)


def _merged(
    before: Iterable[T], put: Iterable[T], removed: Iterable[str], id_of: Callable[[T], str]
) -> tuple[T, ...]:
    """In the order of their ids, as views are."""
    values = _by(before, id_of) | _by(put, id_of)
    for id in removed:
        values.pop(id, None)
    return tuple(values[id] for id in sorted(values))
