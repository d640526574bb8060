"""What stands before the routes: path cleaning, the version prefix, and the answers that are ready.

Nothing here imports quart: a daemon answers its first `/_ping` while the routes are still being
imported, a fifth of a second in which clients would otherwise wait.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from urllib.parse import quote

from services.api.front.fast import FastRoutes
from services.api.front.measures import ANSWERED_KEY, ApiMeasures
from services.api.http.asgi import ASGIApp, Receive, Scope, Send
from services.api.versions.version import VERSION_KEY, split_version
from services.api.wire.paths import clean_path


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


async def _redirect(scope: Scope, path: str, send: Send) -> None:
    query = scope["query_string"]
    location = quote(path, safe="/:@!$&'()*+,;=~").encode("ascii") + (
        b"?" + query if query else b""
    )
    headers = [(b"Location", location)]
    await send({"type": "http.response.start", "status": 301, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
