"""The Prometheus face as a part of the tree: it is there when it has an address."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .metrics_parts import MetricsParts


class MetricsFace:
    """`serve` and `count` are supervised children, which end at once without an address.

    What is counted outlives a change of the address.
    """

    def __init__(self, build: Callable[[], MetricsParts], address: str) -> None:
        """`build` imports what it needs itself: the Prometheus client takes its time."""
        self._build = build
        self._parts: MetricsParts | None = None
        self._building = trio.Lock()
        self.address = address  # host:port; empty: no metrics. For the next `serve`

    async def serve(
        self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve at the address; ready once it listens, never without one. As MetricsServer.run."""
        if self.address:
            parts = await self._get_parts()
            await parts.server(self.address).run(task_status=task_status)

    async def count(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Count what the tree goes through, if it is going to be told."""
        if self.address:
            parts = await self._get_parts()
            await parts.supervision.run(task_status=task_status)

    async def _get_parts(self) -> MetricsParts:
        async with self._building:
            if self._parts is None:
                self._parts = await trio.to_thread.run_sync(self._build)
            return self._parts
