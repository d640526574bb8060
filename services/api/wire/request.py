"""A quart request whose body is pulled: nothing is read before a handler asks for it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Final, ParamSpec, TypeVar, cast

import quart
from quart_trio.wrappers import TrioRequest

from services.api.http.asgi import EXTENSION, ConnectionExtension, Receive
from services.api.versions.version import ApiVersion
from services.api.wire.query import Query, parse_query
from services.errors import InvalidParameter

P = ParamSpec("P")
T = TypeVar("T")

VALUE_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""The most that a body read whole (JSON) may have; streams have no limit."""


class RequestBody:
    """The body of one request: iterate over it for its pieces, or `read` it whole."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """The next piece, never empty.

        Raises:
            InvalidParameter: the client ended before its body did.
        """
        while not self._ended:
            message = await self._receive()
            if message["type"] != "http.request":
                raise InvalidParameter("unexpected EOF")
            self._ended = not message.get("more_body", False)
            if message.get("body"):
                return bytes(message["body"])
        raise StopAsyncIteration

    def __await__(self) -> Generator[Any, None, bytes]:
        """What quart's own `get_data` and `get_json` await."""
        return self.read().__await__()

    def clear(self) -> None:
        """For quart: nothing is kept."""

    async def read(self, limit_bytes: int = VALUE_LIMIT_BYTES) -> bytes:
        """All that is left.

        Raises:
            InvalidParameter: longer than `limit_bytes`, or the client ended early.
        """
        pieces: list[bytes] = []
        size = 0
        async for piece in self:
            size += len(piece)
            if size > limit_bytes:
                raise InvalidParameter(f"request body larger than {limit_bytes} bytes")
            pieces.append(piece)
        return b"".join(pieces)


class _Unset:
    """Stands for the body until the app sets the true one; quart's would cost two events."""

    def __init__(self, *limits: int | None) -> None:
        del limits


class EngineRequest(TrioRequest):
    """What handlers get from `current_request()`. `body` and `query` replace quart's own."""

    body_class = _Unset  # type: ignore[assignment]
    body: RequestBody  # type: ignore[assignment]  # quart's is pushed to and unbounded
    api_version: ApiVersion

    @property
    def query(self) -> Query:
        """The query parameters, with Go's rules.

        Raises:
            InvalidParameter: the query string is malformed.
        """
        return parse_query(self.query_string)

    @property
    def connection(self) -> ConnectionExtension | None:
        """The connection beneath; None under HTTP/2, where there is none to take over."""
        extensions = self.scope.get("extensions") or {}
        return cast("ConnectionExtension | None", extensions.get(EXTENSION))

    def ignore_hang_up(self) -> None:
        """See `ConnectionExtension.ignore_hang_up`; without effect under HTTP/2."""
        if self.connection is not None:
            self.connection.ignore_hang_up()


def current_request() -> EngineRequest:
    """The request that the running handler answers."""
    return cast(EngineRequest, quart.request)


def outlives_client(view: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """A view that changes something, and does so to the end though its client may leave.

    dockerd does not tie such operations to the request either: Ctrl-C in `docker stop` stops the
    waiting, not the stop.
    """

    @functools.wraps(view)
    async def outliving(*args: P.args, **kwargs: P.kwargs) -> T:
        current_request().ignore_hang_up()
        return await view(*args, **kwargs)

    return outliving
