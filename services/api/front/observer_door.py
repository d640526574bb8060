"""The observer on an address of its own: its page and its API, and nothing else of the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio
from loguru import logger

from services.api.http.asgi import ASGIApp, Receive, Scope, Send
from services.api.http.server import ApiServer, ServerConfig, StopSignal
from services.api.listening.hosts import TcpHost
from services.api.listening.listener import Listener
from services.api.listening.sockets import open_tcp
from services.observer.guard import OBSERVER_KEY, OWN

HOME: Final = "/wharfinger/"
DRAIN_S: Final = 1.0  # its streams end at once, the rest is short
_NOT_FOUND: Final = b'{"message":"page not found"}\n'


class ObserverDoor:
    """An ASGI app before the API's: lets the observer's requests through, marked as such."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        path: str = scope["path"]
        if path in ("", "/"):
            await _answer(send, 302, (b"Location", HOME.encode("ascii")))
        elif is_own(path):
            scope[OBSERVER_KEY] = True
            await self._app(scope, receive, send)
        else:
            await _answer(send, 404, (b"Content-Type", b"application/json"), _NOT_FOUND)


def is_own(path: str) -> bool:
    """Whether it is the page's or the observer's API."""
    if not path.startswith(HOME) or "//" in path or "/." in path:
        return False
    name = path.removeprefix(HOME)
    return not name.startswith("v1/") or name.split("/")[1] in OWN


async def _answer(send: Send, status: int, header: tuple[bytes, bytes], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [header]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class ObserverServer:
    """Serves the observer on `host`. `run` is a supervised child."""

    def __init__(
        self,
        host: TcpHost,
        app_for: Callable[[Listener], ASGIApp],
        *,
        stop_request: Callable[[], StopSignal],
    ) -> None:
        """`app_for`: what answers on a listener, with the plugins and the log that stand before."""
        self._host = host
        self._app_for = app_for
        self._stop_request = stop_request

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until a stop is asked for. Ready, with the address, once it accepts.

        Raises:
            ListenError: the address cannot be bound.
        """
        with await open_tcp(self._host) as sock:
            listener = Listener(self._host)
            listener.attach(sock)
            server = ApiServer(
                ObserverDoor(self._app_for(listener)),
                listener,
                config=ServerConfig(drain_s=DRAIN_S),
                stop_request=self._stop_request,
            )
            page = listener.address.replace("tcp://", "http://", 1) + HOME
            logger.bind(service="observer").info("the observer is served", url=page)
            try:
                await server.run(task_status=task_status)
            finally:
                listener.detach()
