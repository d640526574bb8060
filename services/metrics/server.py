"""The HTTP server of --metrics-addr: GET /metrics and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, cast

import hypercorn.trio
import trio
from hypercorn.config import Config
from loguru import logger

from .exposition import Exposition

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework

# ASGI's own shapes: dictionaries of whatever the message's type calls for.
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DRAIN_S: Final = 2.0  # how long a scrape under way may take after a stop is asked for
IDLE_S: Final = 75.0  # a kept connection without a request; scrapers come every 15 to 60 s
READ_S: Final = 10  # for a request's head
HEAD_LIMIT_BYTES: Final = 16 * 1024


class MetricsServer:
    """Serves the metrics on one TCP address, `host:port` as --metrics-addr has it."""

    def __init__(self, address: str, exposition: Exposition) -> None:
        self._address = address
        self._exposition = exposition

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Ready once it listens; passes the URL, for port 0 is any port.

        Raises:
            OSError: the address cannot be bound.
        """
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(self._serve)
            logger.bind(service="metrics").info("metrics are served", url=f"{url}/metrics")
            task_status.started(url)

    async def _serve(self, *, task_status: trio.TaskStatus[list[str]]) -> None:
        await hypercorn.trio.serve(
            cast("ASGIFramework", self._answer),  # it types each kind of message apart
            _hypercorn_config(self._address),
            task_status=task_status,
            mode="asgi",
        )

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _answer_lifespan(receive, send)
        elif scope["type"] == "http" and scope["path"] == "/metrics":
            await self._answer_scrape(scope, send)
        elif scope["type"] == "http":
            await _answer_not_found(send)

    async def _answer_scrape(self, scope: Message, send: Send) -> None:
        scrape = await self._exposition.render(
            accept=_field(scope, b"accept"), compress="gzip" in _field(scope, b"accept-encoding")
        )
        headers = [(b"content-type", scrape.content_type.encode("ascii"))]
        if scrape.is_compressed:
            headers.append((b"content-encoding", b"gzip"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": scrape.body})


def _field(scope: Message, name: bytes) -> str:
    """The values of a field of the request, joined."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ", ".join(values)


def _hypercorn_config(address: str) -> Config:
    config = Config()
    config.bind = [address]
    config.accesslog = None
    config.errorlog = None
    config.graceful_timeout = DRAIN_S
    config.keep_alive_timeout = IDLE_S
    config.read_timeout = READ_S
    config.h11_max_incomplete_size = HEAD_LIMIT_BYTES
    config.include_server_header = False
    return config


async def _answer_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _answer_not_found(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": b"404 page not found\n"})
