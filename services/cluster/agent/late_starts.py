"""Containers that the engine's start could not start: their networks are the cluster's.

Source: moby, daemon/daemon.go, RestartSwarmContainers.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol

import trio
from loguru import logger

from services.cluster.agent.holdings import Holdings
from services.cluster.agent.ports import LocalNetworks
from services.containers.container import Container
from services.containers.model import State
from services.containers.runs.restart_policy import starts_with_daemon
from services.containers.table import ContainerTable
from services.errors import EngineError, InvalidParameter, NotFound, NotModified

log = logger.bind(service="cluster")

AT_ONCE: Final = 8
TRIES: Final = 5
BETWEEN_TRIES_S: Final = 3.0


class Starter(Protocol):
    """The containers service."""

    table: ContainerTable

    async def start(self, container: Container) -> None:
        """Start one."""


class LateStarts:
    """`run` is a supervised child that ends when its work is done.

    `is_first`: no other agent was there in the engine's life. There is nothing to do for a later
    one, nor for a node that has just joined: whatever is stopped there is so on purpose.
    """

    def __init__(
        self, *, engine: Starter, networks: LocalNetworks, holdings: Holdings, is_first: bool
    ) -> None:
        self._is_first = is_first
        self._engine = engine
        self._networks = networks
        self._holdings = holdings

    async def run(self) -> None:
        """Wait for the managers' first word, then start what is due."""
        if not self._is_first or self._holdings.node is None:
            return
        await self._holdings.wait_told()
        self._is_first = False
        due = [container for container in self._engine.table if self._is_due(container)]
        limiter = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for container in due:
                nursery.start_soon(partial(self._start, container, limiter))

    def _is_due(self, container: Container) -> bool:
        status, definition = container.status, container.definition
        return (
            container.state is State.EXITED
            and status.started_at_ns > 0
            and starts_with_daemon(
                definition.host_config.restart_policy,
                exit_code=status.failure_code(status.exit_code),
                restart_count=status.restart_count,
                stopped_by_user=status.stopped_by_user,
            )
            and any(self._may_be_of_cluster(name) for name in definition.networks)
        )

    def _may_be_of_cluster(self, name: str) -> bool:
        """One that the node does not know (any more) is asked of the managers, too."""
        try:
            return self._networks.find(name).is_of_cluster
        except (NotFound, InvalidParameter):
            return True

    async def _start(self, container: Container, limiter: trio.CapacityLimiter) -> None:
        async with limiter:
            for _ in range(TRIES):
                try:
                    await self._engine.start(container)
                except NotModified:
                    return
                except EngineError as error:
                    log.warning("container not started", container=container.id, error=str(error))
                    await trio.sleep(BETWEEN_TRIES_S)
                else:
                    return
