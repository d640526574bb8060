"""What a task's steps do: image, files, container, start, wait, stop, removal.

Every step may be taken again after it was cut short, by this engine or the next.

Source: moby, daemon/cluster/executor/container/controller.go.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio
from loguru import logger

from services.cluster.agent.errors import UNHEALTHY, Lacking, TaskExit
from services.cluster.agent.files import TaskFolders, task_files
from services.cluster.agent.holdings import Holdings, is_predefined
from services.cluster.agent.ports import Engine, NodeNetworks
from services.cluster.agent.pulling import Puller
from services.cluster.agent.request import NODE_LOCAL, create_request, host_ports
from services.cluster.model.objects import ContainerStatus, NodeDescription, Task
from services.cluster.model.specs import PortConfig
from services.containers.container import Container
from services.containers.health.rules import HealthCheck, HealthStatus, health_check_of
from services.containers.labels import task_id_of
from services.containers.model import State
from services.errors import Conflict, EngineError, NotFound, NotModified, single_error

log = logger.bind(service="cluster")

NETWORKS_LIMIT_S: Final = 30.0
"""dockerd's, for the node's own place in a task's networks."""

DRAIN_S: Final = 2.0
"""dockerd's too: from when the managers were to take a task out of the balancers to its signal.
Here it begins anew with each connection that comes meanwhile: some node was slow to hear of it."""

DRAIN_LIMIT_S: Final = 20.0
"""For who is sent connections past the balancers, by its own address."""

_NANO: Final = 10**9


class Controller:
    """The containers of tasks. `describe` says what the node is, for templates."""

    def __init__(
        self,
        *,
        engine: Engine,
        puller: Puller,
        folders: TaskFolders,
        networks: NodeNetworks,
        holdings: Holdings,
        describe: Callable[[], NodeDescription],
        drain_s: float = DRAIN_S,
    ) -> None:
        self._engine = engine
        self._puller = puller
        self._folders = folders
        self._networks = networks
        self._holdings = holdings
        self._describe = describe
        self._drain_s = drain_s

    def find(self, task: Task) -> Container | None:
        """The task's container; if its name was changed since, by the id that was told of it."""
        table = self._engine.table
        if table.is_name_taken(task.name):
            try:
                named = table.find(task.name)
            except NotFound:  # it is being made
                return None
            if task_id_of(named.name, named.definition.config.labels) == task.id:
                return named
        known = task.status.container
        return table.get(known.container_id) if known is not None else None

    async def prepare(self, task: Task) -> None:
        """See to it that the container is there, with all that it needs.

        Raises:
            Lacking: a secret, config or network was not told yet.
            EngineError: it cannot be made.
        """
        if self.find(task) is not None:
            return
        node = self._describe()
        networks = self._holdings.cluster_networks()
        default_log = self._holdings.default_log_driver
        request = create_request(task, node, networks, default_log_driver=default_log)
        await self._wait_networks(task)
        files = task_files(task, node, self._holdings)
        problem = await self._pull(task)
        await self._folders.provide(task, files)
        try:
            await self._engine.create(request)
        except NotFound as error:
            if problem and str(error).startswith("No such image"):
                raise NotFound(f"{error} (pull: {problem})") from error
            raise
        except Conflict as error:
            log.warning("task's container not made", task=task.id, error=str(error))
            if self.find(task) is None:
                raise

    async def start(self, task: Task) -> None:
        """Start the container unless it ever was, and wait until it is healthy.

        Raises:
            TaskExit: it ended, or was ended because it is not healthy.
            EngineError: it cannot be started.
        """
        container = self._require(task)
        check = health_check_of(container.definition.config)
        if container.status.runs == 0:
            try:
                await self._engine.start(container)
            except NotModified:
                pass
            except EngineError as error:
                raise type(error)(f"starting container failed: {error}") from error
        if check is None:
            return
        # With a check an end counts as one from here on, as in dockerd.
        while container.is_running:
            if _is_healthy(container):
                return
            if _is_unhealthy(container, check):
                await self._end_unhealthy(container)
            else:
                await container.wait_changed()
        if container.last_exit.code != 0:
            raise TaskExit(container.last_exit.code)

    async def follow(self, task: Task) -> None:
        """Block until the container has ended.

        Raises:
            TaskExit: with another code than 0, or because it was not healthy.
            NotFound: it is gone, and nobody knows how it ended.
        """
        container = self._require(task)
        check = health_check_of(container.definition.config)
        is_unhealthy = trio.Event()
        async with self._engine.waiter(container, "") as waiter:
            with single_error():
                async with trio.open_nursery() as nursery:
                    if check is not None:
                        nursery.start_soon(self._watch_health, container, check, is_unhealthy)
                    exit_ = await waiter.wait()
                    nursery.cancel_scope.cancel()
        cause = UNHEALTHY if is_unhealthy.is_set() else exit_.error
        if exit_.code != 0 or is_unhealthy.is_set():
            raise TaskExit(exit_.code, cause)

    async def stop(self, task: Task) -> None:
        """End the container with the service's signal and grace; gone or ended is fine."""
        container = self.find(task)
        if container is not None:
            if container.is_running and self._is_balanced(task):
                await self._drain(container)
            with suppress(NotModified, NotFound):
                await self._engine.stop(container, grace_s=_grace_s(task))
        await self._folders.drop(task.id)

    async def remove(self, task: Task) -> None:
        """Take the container away with its anonymous volumes and its files."""
        await self.stop(task)
        container = self.find(task)
        if container is not None:
            with suppress(NotFound):
                await self._engine.remove(container, force=True, volumes=True)

    def container_status(self, task: Task) -> ContainerStatus | None:
        """What there is to say of the container; None when there is none."""
        container = self.find(task)
        if container is None:
            return None
        status = container.status
        return ContainerStatus(
            container_id=container.id, pid=status.pid, exit_code=status.exit_code
        )

    def port_status(self, task: Task) -> list[PortConfig]:
        """The ports that the node publishes for the task while it runs, as they were chosen."""
        container = self.find(task)
        if container is None or not container.state.has_task or not host_ports(task):
            return []
        names = {(p.protocol.lower(), p.target_port): p.name for p in host_ports(task)}
        found = {
            PortConfig(
                name=names.get((port.protocol, port.container_port), ""),
                protocol=port.protocol,
                target_port=port.container_port,
                published_port=port.host_port,
                publish_mode="host",
            )
            for port in container.status.ports
            if port.host_port
        }
        return sorted(found, key=lambda port: (port.target_port, port.published_port))

    async def _pull(self, task: Task) -> str:
        spec = task.spec.container_spec
        assert spec is not None
        return await self._puller.pull(spec.image, spec.registry_auth)

    async def _wait_networks(self, task: Task) -> None:
        """Of the cluster's networks; the node's own are there or the create says so."""
        known = self._holdings.networks
        wanted = [a.network_id for a in task.networks if a.network_id not in NODE_LOCAL]
        for network_id in wanted:
            if network_id not in known:
                raise Lacking(f"network {network_id} not found")
        with trio.move_on_after(NETWORKS_LIMIT_S) as limit:
            await self._networks.wait_ready(
                [one for one in wanted if not is_predefined(known[one].network)]
            )
        if limit.cancelled_caught:
            raise EngineError("node is missing network attachments, ip addresses may be exhausted")

    async def _watch_health(
        self, container: Container, check: HealthCheck, is_unhealthy: trio.Event
    ) -> None:
        while not _is_unhealthy(container, check):
            await container.wait_changed()
        is_unhealthy.set()
        await self._stop_now(container)

    async def _end_unhealthy(self, container: Container) -> None:
        await self._stop_now(container)
        raise TaskExit(container.last_exit.code, UNHEALTHY)

    async def _stop_now(self, container: Container) -> None:
        with suppress(NotModified, NotFound):
            await self._engine.stop(container)

    async def _drain(self, container: Container) -> None:
        try:
            await self._networks.wait_unused(
                container.id, quiet_s=self._drain_s, limit_s=DRAIN_LIMIT_S
            )
        except EngineError as error:
            if not container.is_running:
                return
            log.warning("task not seen to be unused", container=container.id, error=str(error))
            await trio.sleep(self._drain_s)

    def _is_balanced(self, task: Task) -> bool:
        """Whether others may send it connections by a balancer."""
        known = self._holdings.networks
        views = (known.get(attached.network_id) for attached in task.networks)
        return any(view is not None and not is_predefined(view.network) for view in views)

    def _require(self, task: Task) -> Container:
        container = self.find(task)
        if container is None:
            raise NotFound(f"No such container: {task.name}")
        return container


def _is_healthy(container: Container) -> bool:
    health = container.health
    return (
        container.state is State.RUNNING
        and health is not None
        and health.run_at_ns == container.status.started_at_ns
        and health.status is HealthStatus.HEALTHY
    )


def _is_unhealthy(container: Container, check: HealthCheck) -> bool:
    """By its probes; one that is paused is shown as unhealthy, too, and does not count."""
    health = container.health
    return (
        container.state is State.RUNNING
        and health is not None
        and health.status is HealthStatus.UNHEALTHY
        and health.failing_streak >= check.retries
    )


def _grace_s(task: Task) -> float | None:
    spec = task.spec.container_spec
    if spec is None or spec.stop_grace_period is None:
        return None
    return spec.stop_grace_period / _NANO
