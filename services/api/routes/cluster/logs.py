"""Output of tasks as an answer: framed as a container's, each line with its task if asked for.

Source: moby, daemon/server/router/swarm/helpers.go and daemon/server/httputils (WriteLogStream).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from services.api.http.hijack import MULTIPLEXED_STREAM, RAW_STREAM
from services.api.routes.container_streams import MULTIPLEXED_SINCE, check_streams
from services.api.types.times import rfc3339_nano, unix_ns
from services.api.wire.query import Query, parse_integer
from services.api.wire.request import EngineRequest
from services.api.wire.responses import StreamResponse
from services.cluster.control.ports import TaskLogs
from services.cluster.dispatcher.values import LogMessage, LogOptions, LogSelector
from services.containers.logs.render import details_text, fixed_time
from services.containers.stdio.streams import Stream, frame_header
from services.errors import EngineError, InvalidParameter

PREFIX: Final = "com.docker.swarm"
STREAMS: Final = MappingProxyType({"stdout": 1, "stderr": 2})
SYSTEM_ERROR: Final = 3
"""The number of the stream on which clients are told that something went wrong."""


def logs_answer(
    request: EngineRequest, logs: TaskLogs, chosen: Callable[[], tuple[LogSelector, bool]]
) -> StreamResponse:
    """`chosen` says of which tasks, and whether they have a terminal: then nothing is framed.

    Raises:
        InvalidParameter: no stream is asked for, or a number is none.
        NotFound: from `chosen`.
    """
    query = request.query
    streams = check_streams(query)
    selector, has_terminal = chosen()
    options = LogOptions(
        stdout=Stream.STDOUT in streams,
        stderr=Stream.STDERR in streams,
        follow=query.boolean("follow"),
        tail=_tail(query.text("tail")),
        since=_since(query.text("since")),
    )
    lines = _Lines(query, is_framed=not has_terminal)

    @asynccontextmanager
    async def parts() -> AsyncIterator[AsyncIterable[bytes]]:
        async with logs.subscribe_logs(selector, options) as messages:
            yield lines.parts(messages)

    is_multiplexed = not has_terminal and request.api_version >= MULTIPLEXED_SINCE
    return StreamResponse(
        parts(),
        endless=options.follow,
        content_type=MULTIPLEXED_STREAM if is_multiplexed else RAW_STREAM,
    )


@dataclass(frozen=True, slots=True)
class _Style:
    timestamps: bool
    details: bool


class _Lines:
    """How lines are written for one client."""

    def __init__(self, query: Query, *, is_framed: bool) -> None:
        self._style = _Style(query.boolean("timestamps"), query.boolean("details"))
        self._is_framed = is_framed

    async def parts(self, messages: AsyncIterable[LogMessage]) -> AsyncIterator[bytes]:
        """The answer's bytes. What goes wrong on the way is its last line."""
        try:
            async for message in messages:
                yield self._framed(STREAMS[message.stream], self._line(message))
        except EngineError as error:
            yield self._framed(SYSTEM_ERROR, f"Error grabbing logs: {error}\n".encode())

    def _framed(self, stream: int, data: bytes) -> bytes:
        if not self._is_framed:
            return data
        if stream == SYSTEM_ERROR:
            return bytes((SYSTEM_ERROR, 0, 0, 0)) + len(data).to_bytes(4, "big") + data
        return frame_header(Stream(stream), len(data)) + data

    def _line(self, message: LogMessage) -> bytes:
        data = message.data
        if self._style.details:
            data = f"{details_text(_details(message))} ".encode() + data
        if self._style.timestamps:
            data = f"{fixed_time(rfc3339_nano(message.timestamp_ns))} ".encode() + data
        return data


def _details(message: LogMessage) -> dict[str, str]:
    """Labels and variables of the line; whose line it is has the last word."""
    return {
        **message.details,
        f"{PREFIX}.node.id": message.node_id,
        f"{PREFIX}.service.id": message.service_id,
        f"{PREFIX}.task.id": message.task_id,
    }


def _since(text: str) -> datetime | None:
    since_ns = unix_ns(text, "since")
    if not since_ns:
        return None
    return datetime.fromtimestamp(0, tz=UTC) + timedelta(microseconds=since_ns // 1000)


def _tail(text: str) -> int | None:
    if text in ("", "all"):
        return None
    try:
        number = parse_integer(text)
    except InvalidParameter as error:
        raise InvalidParameter('tail value must be a positive integer or "all"') from error
    if number < 0:
        raise InvalidParameter("negative tail values not supported")
    return number
