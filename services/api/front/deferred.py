"""The routes' app while it is still being built."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from services.api.http.asgi import ASGIApp, Receive, Scope, Send

TURN_S: Final = 0.0005


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
