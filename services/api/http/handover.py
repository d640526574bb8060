"""Connections that hypercorn serves: HTTP/2 and websockets.

Apart from `server`, so that starting does not wait for the import of three protocols that hardly
any Docker client speaks.
"""

from __future__ import annotations

import math
import sys
from copy import copy

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import LifespanState

from services.api.http.asgi import ASGIApp
from services.api.http.passthrough import ReplayedStream


class Handover:
    """What all connections in hypercorn's hands share, within one run of a server."""

    def __init__(self) -> None:
        self._context = WorkerContext(None)
        self._config = hypercorn_config()

    async def serve(self, app: ASGIApp, stream: ReplayedStream, *, once: bool) -> None:
        """Serve a connection to its end; `once`: a single HTTP/1.1 request, and no other."""
        config = _one_request(self._config) if once else self._config
        await TCPServer(
            ASGIWrapper(app),  # type: ignore[arg-type]  # hypercorn's typed dicts
            config,
            self._context,
            LifespanState(),
            stream,  # type: ignore[arg-type]  # it has what hypercorn calls
        ).run()

    async def begin_drain(self) -> None:
        """Idle connections end, the others with what they have begun."""
        await self._context.terminated.set()


def hypercorn_config() -> Config:
    """hypercorn's settings for what passes through to it, without the limits that cut streams."""
    config = Config()
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = None
    config.keep_alive_timeout = math.inf
    config.keep_alive_max_requests = sys.maxsize
    config.read_timeout = None
    return config


def _one_request(config: Config) -> Config:
    """For a websocket that its handler refused: hypercorn must not go on to serve HTTP/1.1 here."""
    config = copy(config)
    config.keep_alive_max_requests = 0
    return config
