"""What stands before the routes: path cleaning, the version prefix, and the answers that are ready.

Nothing here imports quart: a daemon answers its first `/_ping` while the routes are still being
imported, a fifth of a second in which clients would otherwise wait.
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Final
from urllib.parse import quote

import trio

from services.api.front.fast import FastRoutes
from services.api.front.measures import ANSWERED_KEY, ApiMeasures
from services.api.http.asgi import ASGIApp, Receive, Scope, Send
from services.api.versions.version import VERSION_KEY, split_version

TURN_S: Final = 0.0005


class Front:
    """ASGI app before the routes': cleans paths, takes the version off, answers what is ready.

    `measures` counts what passes through here.
    """

    def __init__(self, app: ASGIApp, fast: FastRoutes, measures: ApiMeasures | None = None) -> None:
        self._app = app
        self._fast = fast
        self._measures = measures or ApiMeasures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        began = perf_counter()
        path: str = scope["path"]
        if "//" in path or "/." in path:
            cleaned = clean_path(path)
            if cleaned != path and scope["type"] == "http":
                await _redirect(scope, cleaned, send)
                return
        version, path = split_version(path)
        if version is not None:
            scope["path"] = path
            scope[VERSION_KEY] = version
        if scope["type"] == "http":
            answer = self._fast.answer(scope)
            if answer is not None:
                self._measures.answered(began, answer.operation, 200)
                await send(answer.start)
                await send(answer.body)
                return
        scope[ANSWERED_KEY] = partial(self._measures.answered, began)
        self._measures.open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._measures.open -= 1


def clean_path(path: str) -> str:
    """The path without empty, `.` and `..` segments; a trailing slash stays.

    Source: Go's path.Clean, as gorilla/mux applies it.
    """
    cleaned = posixpath.normpath("/" + path.lstrip("/"))
    return cleaned + "/" if path.endswith("/") and cleaned != "/" else cleaned


async def _redirect(scope: Scope, path: str, send: Send) -> None:
    query = scope["query_string"]
    location = quote(path, safe="/:@!$&'()*+,;=~").encode("ascii") + (
        b"?" + query if query else b""
    )
    headers = [(b"Location", location)]
    await send({"type": "http.response.start", "status": 301, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class DeferredApp:
    """An ASGI app that is built, in a thread, while the server already accepts.

    `run` is a supervised child. Requests that come before it is done wait for it, as long as their
    client does.
    """

    def __init__(self, prepare: Callable[[], Callable[[], ASGIApp]]) -> None:
        """`prepare` is done before servers accept, what it returns builds the app meanwhile.

        Both import what they need themselves: that is what takes the time.
        """
        self._prepare = prepare
        self._build: Callable[[], ASGIApp] | None = None
        self._app: ASGIApp | None = None
        self._built = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Build the app once; returns when it is there, at once if it was built before.

        Ready when it is prepared, because servers need not wait for the rest.
        """
        limiter = trio.CapacityLimiter(1)
        if self._build is None:
            self._build = await trio.to_thread.run_sync(self._prepare, limiter=limiter)
        task_status.started()
        if self._app is None:
            with _short_turns():
                self._app = await trio.to_thread.run_sync(self._build, limiter=limiter)
            self._built.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if self._app is None:
            await self._built.wait()
        assert self._app is not None
        await self._app(scope, receive, send)


@contextmanager
def _short_turns() -> Iterator[None]:
    """Have a thread that imports give the loop the interpreter within TURN_S; else it takes 5 ms
    each time that the loop has waited for something, and whoever is answered meanwhile pays it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
