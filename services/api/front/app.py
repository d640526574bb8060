"""The ASGI app: blueprints on quart, with Docker's version prefix, headers and errors around them.

Quart keeps routing, blueprints and view functions; its per-request machinery (a nursery, two tasks,
sessions, a pushed body, three writes for one answer) is replaced by what a local API needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any, cast

import trio
from quart import Blueprint
from quart.routing import QuartRule
from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.routing import MapAdapter
from werkzeug.wrappers import Response as WerkzeugResponse

from services.api.front.measures import ANSWERED_KEY, UNKNOWN, operation_of
from services.api.http.asgi import ASGIApp, ConnectionExtension, Receive, Send
from services.api.http.transport import ClientGone
from services.api.versions.version import VERSION_KEY, negotiate
from services.api.wire.errors import answer_for, error_body
from services.api.wire.identity import Identity
from services.api.wire.request import EngineRequest, RequestBody
from services.api.wire.responses import (
    JSON,
    EngineResponse,
    HijackResponse,
    StreamResponse,
    encode_headers,
)
from services.errors import NotSupported


class _Connection(TrioASGIHTTPConnection):
    """Quart's side of one request: no task but the handler's own, one write for a whole answer."""

    async def __call__(self, receive: Receive, send: Send) -> None:  # type: ignore[override]
        request = self._create_request_from_scope(send)  # type: ignore[arg-type]
        request.body = RequestBody(receive)  # type: ignore[assignment]
        response = await self.app.handle_request(request)
        async with AsyncExitStack() as stack:
            session = None
            if isinstance(response, StreamResponse | HijackResponse):
                app = cast(EngineApp, self.app)
                try:
                    session = await stack.enter_async_context(response.session)
                except ClientGone:
                    raise
                except Exception as error:  # the head has not left: it can still be told
                    response = app.answer_error(request, error)  # type: ignore[arg-type]
            _measure(request, response)  # type: ignore[arg-type]
            await _send_answer(request, response, session, send)  # type: ignore[arg-type]


def _measure(request: EngineRequest, response: EngineResponse | WerkzeugResponse) -> None:
    answered = request.scope.get(ANSWERED_KEY)
    if answered is not None:
        rule = request.url_rule
        operation = UNKNOWN if rule is None else operation_of(request.method, rule.rule)
        cast("Callable[[str, int], None]", answered)(operation, response.status_code)


async def _send_answer(
    request: EngineRequest,
    response: EngineResponse | WerkzeugResponse,
    session: Any,
    send: Send,
) -> None:
    """Send `response`, whose `session`, if it has one, is open."""
    if isinstance(response, HijackResponse):
        connection = request.connection
        assert connection is not None  # `handle_request` has refused it otherwise
        await response.take_over(connection, session, upgrade="Upgrade" in request.headers)
        return
    response = cast(EngineResponse, response)
    headers = encode_headers(response)
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    if isinstance(response, StreamResponse):
        await _send_stream(request, session, send, endless=response.endless)
        return
    data = await response.get_data(as_text=False)
    await send({"type": "http.response.body", "body": data, "more_body": False})


async def _send_stream(
    request: EngineRequest, parts: AsyncIterable[bytes], send: Send, *, endless: bool
) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    connection = request.connection
    if endless and connection is not None:
        await _send_until_drain(connection, parts, send)
    else:
        async for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_until_drain(
    connection: ConnectionExtension, parts: AsyncIterable[bytes], send: Send
) -> None:
    iterator = aiter(parts)
    while True:
        part: bytes | None = None
        with connection.drain.ends():
            part = await anext(iterator, None)
        # Sent outside of that scope: a part must not be cut in the middle of its chunk.
        if part is None:
            return
        await send({"type": "http.response.body", "body": part, "more_body": True})


class EngineRule(QuartRule):
    """A route that answers HEAD only if it says so: dockerd's router does not take GET for both."""

    def __init__(
        self, string: str, *, methods: Iterable[str] | None = None, **options: Any
    ) -> None:
        super().__init__(string, methods=methods, **options)
        if self.methods is not None and "HEAD" not in (methods or ()):
            self.methods.discard("HEAD")


class EngineApp(QuartTrio):
    """Quart with our request, our answers, and Docker's errors."""

    url_rule_class = EngineRule  # type: ignore[assignment]  # quart names one type, no base
    request_class = EngineRequest
    response_class = EngineResponse
    asgi_http_class = _Connection

    def __init__(self, identity: Identity) -> None:
        super().__init__(__name__, static_folder=None, template_folder=None)
        self._identity = identity
        self.url_map.redirect_defaults = False
        self.url_map.merge_slashes = False  # `Front` has cleaned the path, as dockerd's router does
        # Answered by `FastRoutes`; known here for the sake of its answer to a bad version.
        self.add_url_rule("/_ping", "ping", _ping_of_bad_version)

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """Routes do not depend on the Host, which may be a socket's path and no name at all."""
        if request is None:
            return None
        return self.url_map.bind(
            "localhost",
            url_scheme=request.scheme,
            default_method=request.method,
            path_info=request.path,
        )

    async def handle_request(self, request: Any) -> Any:
        """Answer one request; only a cancellation comes out as an exception."""
        async with self.request_context(request) as context:
            try:
                return await self._answer(request, context)
            except (trio.Cancelled, ClientGone):
                raise
            except BaseExceptionGroup as group:
                cancelled, rest = group.split((trio.Cancelled, ClientGone))
                answer = self.answer_error(request, rest) if rest is not None else None
                if cancelled is not None:
                    raise cancelled from None  # nobody is left to hear the rest; it has been logged
                return answer
            except Exception as error:
                return self.answer_error(request, error)

    async def _answer(self, request: EngineRequest, context: Any) -> EngineResponse:
        """`context` is quart's RequestContext up to 0.22, its AppContext from 0.23 on."""
        if request.routing_exception is not None and request.method != "OPTIONS":
            raise request.routing_exception
        request.api_version = negotiate(cast("str | None", request.scope.get(VERSION_KEY)))
        if request.method == "OPTIONS":
            answer = EngineResponse(b"")
            del answer.headers["Content-Type"]
            return self._identified(answer)
        result: Any = await self.preprocess_request(context)
        if result is None:
            assert request.url_rule is not None
            view = self.view_functions[request.url_rule.endpoint]
            result = await self._view(view)(**(request.view_args or {}))
        response = cast(EngineResponse, await self.make_response(result))
        if isinstance(response, HijackResponse) and request.connection is None:
            raise NotSupported("this endpoint takes the connection over: use HTTP/1.1")
        # No `process_response`: there are no sessions to save, and no `after_request` functions.
        return self._identified(response)

    def _view(self, view: Any) -> Callable[..., Awaitable[object]]:
        """Quart's types leave open whether a view is async; ours are, others run in a thread."""
        return cast("Callable[..., Awaitable[object]]", self.ensure_async(view))

    def _identified(self, response: EngineResponse) -> EngineResponse:
        for name, value in self._identity.headers:
            response.headers.setdefault(name, value)
        return response

    def answer_error(self, request: EngineRequest, error: BaseException) -> EngineResponse:
        """What the client is told instead of the answer."""
        answer = answer_for(error, method=request.method, path=request.path)
        response = EngineResponse(error_body(answer.message), answer.status, content_type=JSON)
        for name, value in answer.headers:
            response.headers[name] = value
        # dockerd's router answers for a page that is not there before any middleware has run.
        return response if request.routing_exception is not None else self._identified(response)


async def _ping_of_bad_version() -> bytes:
    raise AssertionError("`/_ping` is answered before quart is asked")


def build_routes(blueprints: Iterable[Blueprint], *, identity: Identity) -> ASGIApp:
    """The blueprints' routes, without version prefix, as an app to stand behind a `Front`."""
    app = EngineApp(identity)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return cast(ASGIApp, app)  # the same calls, spelled by hypercorn as typed dicts
