"""Gives containers that run the links back that somebody else has deleted, or taken out of bridges.

The container keeps its addresses; connections that were open may go on.
"""

from __future__ import annotations

from typing import Protocol

from loguru import logger

from services.containers.table import ContainerTable
from services.errors import EngineError
from services.networks import Sandboxes

log = logger.bind(service="containers")


class Networks(Protocol):
    """What is needed of the networks service."""

    async def mend_links(self) -> None:
        """Make bridges that are gone."""


class LinkMender:
    """For the audit, when it is asked to repair."""

    def __init__(self, *, table: ContainerTable, networks: Networks, sandboxes: Sandboxes) -> None:
        self._table, self._networks, self._sandboxes = table, networks, sandboxes

    async def mend(self) -> None:
        """Bridges first, then the links that are to be in them.

        Raises:
            EngineError: some could not be mended; the others are.
        """
        await self._networks.mend_links()
        refused: list[str] = []
        for container_id in await self._sandboxes.without_links():
            container = self._table.get(container_id)
            if container is None:
                continue
            try:
                async with container.turn("the repair of its links"):
                    if container.state.has_task:
                        await self._sandboxes.mend_links(container_id, pid=container.status.pid)
                        log.warning("container's lost link made again", container=container_id)
            except EngineError as error:
                refused.append(f"links of container {container.name}: {error}")
        if refused:
            raise EngineError("; ".join(refused))
