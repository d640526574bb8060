"""The observer's own address as a part of the tree: it is there when it is asked for."""

from __future__ import annotations

from collections.abc import Callable

import trio

from services.api.http.asgi import ASGIApp
from services.api.listening.hosts import TcpHost
from services.api.listening.listener import Listener
from supervisor.otp import stop_request


class ObserverFace:
    """`serve` is a supervised child, which ends at once without an address."""

    def __init__(self, app_for: Callable[[Listener], ASGIApp], host: TcpHost | None) -> None:
        """`app_for` as ObserverServer's."""
        self._app_for = app_for
        self.host = host  # for the next `serve`

    async def serve(
        self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve at the address; ready once it accepts, never without one. As ObserverServer.run."""
        if self.host is not None:
            from services.api.front.observer_door import ObserverServer  # few engines serve there

            server = ObserverServer(self.host, self._app_for, stop_request=stop_request)
            await server.run(task_status=task_status)
