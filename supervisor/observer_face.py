"""The observer's own address as a part of the tree: it is there when it is asked for."""

from __future__ import annotations

import trio

from services.api.asgi import ASGIApp
from services.api.hosts import TcpHost
from services.api.observer_door import ObserverServer

from .otp import stop_request


class ObserverFace:
    """`serve` is a supervised child, which ends at once without an address."""

    def __init__(self, routes: ASGIApp, host: TcpHost | None) -> None:
        self._routes = routes
        self.host = host  # for the next `serve`

    async def serve(
        self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve at the address; ready once it accepts, never without one. As ObserverServer.run."""
        if self.host is not None:
            server = ObserverServer(self.host, self._routes, stop_request=stop_request)
            await server.run(task_status=task_status)
