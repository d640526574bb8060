"""The Prometheus face as a part of the tree: it is there when it has an address."""

from __future__ import annotations

import trio

from .metrics import LazyMetrics


class MetricsFace:
    """`serve` is a supervised child, which ends at once without an address.

    What is counted outlives a change of the address.
    """

    def __init__(self, metrics: LazyMetrics, address: str) -> None:
        self._metrics = metrics
        self.address = address  # host:port; empty: no metrics. For the next `serve`

    async def serve(
        self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve at the address; ready once it listens, never without one. As MetricsServer.run."""
        if self.address:
            server = await self._metrics.server(self.address)
            await server.run(task_status=task_status)
