"""Containers that were started by hand in the cluster's networks: each place is a task of its own.

A start asks the managers, gets a task back, waits until that is assigned with addresses, and goes
on with them. From then on the task follows the container: it ends when the container does, or
leaves the network; then the address is free again.

Source: moby, daemon/cluster/executor/container/attachment.go; daemon/container_operations.go,
findAndAttachNetwork.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_interface
from typing import Final

import trio
from loguru import logger

from services.cluster.agent.ports import NodeNetworks
from services.cluster.dispatcher.source import Session
from services.cluster.dispatcher.values import AttachmentWish
from services.cluster.model.objects import ContainerStatus, Task
from services.cluster.model.specs import PortConfig
from services.containers.container import Container
from services.containers.model import State
from services.containers.table import ContainerTable
from services.errors import DeadlineExceeded, EngineError, NotFound
from services.networks.sandboxes.attaching import Given

log = logger.bind(service="cluster")

PLACE_LIMIT_S: Final = 20.0
"""dockerd's, for the managers' answer and the address."""

START_LIMIT_S: Final = 60.0
"""How long a container that has its place may take to start with it."""

_LOOK_EVERY_S: Final = 1.0


class GuestTasks:
    """Asks for places (it is an `Attacher`), and does the work of the tasks that they come as.

    `session` gives the present one; it raises Unavailable when there is none.
    """

    def __init__(
        self,
        *,
        table: ContainerTable,
        networks: NodeNetworks,
        session: Callable[[], Session],
    ) -> None:
        self._table = table
        self._networks = networks
        self._session = session
        self._given: dict[str, Task] = {}  # those that containers have or may have, by id
        self._refused: dict[str, str] = {}  # why a task's place cannot be had here, by its id
        self._arrived = trio.Event()

    # -- for containers ---------------------------------------------------------------------------

    async def attach(
        self, network: str, container_id: str, address: str, names: Sequence[str]
    ) -> Given:
        """See `Attacher`. What a container has it keeps while its restart policy starts it again.

        Raises:
            DeadlineExceeded: the managers have given none in time.
            EngineError: this node cannot have the network.
        """
        task = self._kept(network, container_id)
        if task is None:
            with trio.move_on_after(PLACE_LIMIT_S) as limit:
                task = await self._ask(network, container_id, address, names)
            if limit.cancelled_caught:
                raise DeadlineExceeded(
                    f"Could not attach to network {network}: context deadline exceeded"
                )
        assert task is not None
        place = task.networks[0]
        found = (ip_interface(text).ip for text in place.addresses)
        given = next((str(one) for one in found if one.version == 4), "")
        return Given(network_id=place.network_id, address=given)

    def left(self, container_id: str, network_id: str) -> None:
        """See `Attacher`. The task sees by itself what becomes of its container."""

    def _kept(self, network: str, container_id: str) -> Task | None:
        container = self._table.get(container_id)
        if container is None or container.state is not State.RESTARTING:
            return None
        ids = {network, container.status.network_ids.get(network, "")}
        for task in self._given.values():
            if _container_id(task) == container_id and task.networks[0].network_id in ids:
                return task
        return None

    async def _ask(
        self, network: str, container_id: str, address: str, names: Sequence[str]
    ) -> Task:
        wish = AttachmentWish(
            network=network,
            container_id=container_id,
            names=tuple(names),
            addresses=(address,) if address else (),
        )
        task_id = await self._session().attach(wish)
        while task_id not in self._given:
            if task_id in self._refused:
                raise EngineError(self._refused[task_id])
            await self._arrived.wait()
        return self._given[task_id]

    # -- the work of their tasks ------------------------------------------------------------------

    async def prepare(self, task: Task) -> None:
        """The task was assigned: whoever waits for it can have its addresses."""
        if not task.networks or not task.networks[0].addresses:
            raise EngineError("the task has no address")
        self._require(task)
        try:
            await self._networks.wait_ready([task.networks[0].network_id])
            self._given[task.id] = task
        except EngineError as error:
            self._refused[task.id] = str(error)
            raise
        finally:
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
        self._refused.pop(task.id, None)
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
