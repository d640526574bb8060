"""Containers that were started by hand in the cluster's networks: each place is a task of its own.

A start asks the managers, gets a task back, waits until that is assigned with addresses, and goes
on with them. From then on the task follows the container: it ends when the container does, or
leaves the network; then the address is free again.

Source: moby, daemon/cluster/executor/container/attachment.go; daemon/container_operations.go,
findAndAttachNetwork.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_interface
from typing import Final, Protocol

import trio
from loguru import logger

from services.cluster.agent.ports import NodeNetworks
from services.cluster.dispatcher.source import Session
from services.cluster.dispatcher.values import AttachmentWish
from services.cluster.model.objects import ContainerStatus, Task
from services.cluster.model.specs import PortConfig
from services.containers.container import Container
from services.containers.networking import dns_names
from services.containers.table import ContainerTable
from services.errors import DeadlineExceeded, EngineError, InvalidParameter, NotFound
from services.networks import EndpointRequest, Network

log = logger.bind(service="cluster")

PLACE_LIMIT_S: Final = 20.0
"""dockerd's, for the managers' answer and the address."""

START_LIMIT_S: Final = 60.0
"""How long a container that has its place may take to start with it."""

_LOOK_EVERY_S: Final = 1.0


class Networks(Protocol):
    """The networks that this node knows."""

    def find(self, ref: str) -> Network:
        """By id, name or a beginning of its id. Raises NotFound and InvalidParameter."""


class GuestTasks:
    """Gives places (`services.containers.guests`), and does the work of the tasks that they are.

    `session` is the present one; it raises Unavailable when there is none. `is_task` says whether a
    container is a service's: its addresses are there already.
    """

    def __init__(
        self,
        *,
        table: ContainerTable,
        networks: Networks,
        node_networks: NodeNetworks,
        session: Callable[[], Session],
        is_task: Callable[[Container], bool],
    ) -> None:
        self._table = table
        self._networks = networks
        self._node_networks = node_networks
        self._session = session
        self._is_task = is_task
        self._given: dict[str, Task] = {}  # prepared ones, by id
        self._arrived = trio.Event()

    # -- for containers ---------------------------------------------------------------------------

    async def place(
        self, container: Container, wanted: Sequence[EndpointRequest]
    ) -> Sequence[EndpointRequest]:
        """See `NetworkHost`. What the node has of its own is passed on as it is."""
        if self._is_task(container):
            return wanted
        return [await self._placed(container, request) for request in wanted]

    async def _placed(self, container: Container, request: EndpointRequest) -> EndpointRequest:
        network = self._known(request.network)
        if network is not None and not network.is_of_cluster:
            return request
        task = self._held(container, network)
        if task is None:
            with trio.move_on_after(PLACE_LIMIT_S) as limit:
                try:
                    task = await self._ask(container, request)
                except NotFound:
                    if network is None:
                        return request  # nobody knows it, and the engine says so as ever
                    raise
            if limit.cancelled_caught:
                raise DeadlineExceeded(
                    f"Could not attach to network {request.network}: context deadline exceeded"
                )
        assert task is not None
        place = task.networks[0]
        found = {ip_interface(text).version: ip_interface(text).ip for text in place.addresses}
        return replace(
            request,
            network=place.network_id,
            address=str(found.get(4, "")),
            address6=str(found.get(6, "")),
        )

    def _known(self, ref: str) -> Network | None:
        try:
            return self._networks.find(ref)
        except (NotFound, InvalidParameter):
            return None

    def _held(self, container: Container, network: Network | None) -> Task | None:
        """The place that a container keeps while its restart policy starts it again."""
        if network is None or not container.is_running:
            return None
        for task in self._given.values():
            if _container_id(task) == container.id and task.networks[0].network_id == network.id:
                return task
        return None

    async def _ask(self, container: Container, request: EndpointRequest) -> Task:
        asked = (text for text in (request.address, request.address6) if text)
        settings = container.definition.networks.get(request.network)
        names = dns_names(container.definition, settings) if settings is not None else ()
        wish = AttachmentWish(
            network=request.network,
            container_id=container.id,
            names=tuple(names) or (container.name,),
            addresses=tuple(asked),
        )
        task_id = await self._session().attach(wish)
        while task_id not in self._given:
            await self._arrived.wait()
        return self._given[task_id]

    # -- the work of their tasks ------------------------------------------------------------------

    async def prepare(self, task: Task) -> None:
        """The task was assigned: whoever waits for it can have its addresses."""
        if not task.networks or not task.networks[0].addresses:
            raise EngineError("the task has no address")
        self._require(task)
        await self._node_networks.wait_network(task.networks[0].network_id)
        self._given[task.id] = task
        self._arrived.set()
        self._arrived = trio.Event()

    async def start(self, task: Task) -> None:
        """Return when the container has its place.

        Raises:
            EngineError: it did not start, or started without it.
        """
        container = self._require(task)
        with trio.move_on_after(START_LIMIT_S):
            while not _is_in(container, task):
                if not container.is_busy:
                    break
                with trio.move_on_after(_LOOK_EVERY_S):
                    await container.wait_changed()
        if not _is_in(container, task):
            self._given.pop(task.id, None)
            raise EngineError("the container was not started in the network")

    async def follow(self, task: Task) -> None:
        """Return when the container has left its place."""
        container = self._require(task)
        self._given[task.id] = task
        try:
            while self._table.get(container.id) is container and _keeps(container, task):
                with trio.move_on_after(_LOOK_EVERY_S):
                    await container.wait_changed()
        finally:
            self._given.pop(task.id, None)

    async def stop(self, task: Task) -> None:
        """The managers want the place back; the container is not theirs to stop."""
        self._given.pop(task.id, None)
        log.warning("a place in a network was taken back", task=task.id)

    async def remove(self, task: Task) -> None:
        """Nothing is left of it but what the container has."""
        self._given.pop(task.id, None)
        await trio.lowlevel.checkpoint()

    def container_status(self, task: Task) -> ContainerStatus | None:
        """The container's."""
        container = self._table.get(_container_id(task))
        if container is None:
            return None
        return ContainerStatus(container_id=container.id, pid=container.status.pid)

    def port_status(self, task: Task) -> list[PortConfig]:  # noqa: ARG002 (all kinds of work)
        """None: its ports are not the cluster's."""
        return []

    def _require(self, task: Task) -> Container:
        container = self._table.get(_container_id(task))
        if container is None:
            raise NotFound(f"No such container: {_container_id(task)}")
        return container


def _container_id(task: Task) -> str:
    spec = task.spec.network_attachment_spec
    return spec.container_id if spec is not None else ""


def _is_in(container: Container, task: Task) -> bool:
    """Whether it has the very address that the task stands for."""
    addresses = {str(ip_interface(text).ip) for text in task.networks[0].addresses}
    return container.state.has_task and any(
        one.ip_address in addresses for one in container.status.networks.values()
    )


def _keeps(container: Container, task: Task) -> bool:
    """Whether it is in its place, or waits for its restart there."""
    return _is_in(container, task) or (container.is_running and not container.state.has_task)
