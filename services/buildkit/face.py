"""What the API needs: connections of both kinds, handed over."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from .classic_call import ClassicCalls
from .jobs import Jobs
from .material import Materials
from .ports import BuildSources as Sources
from .server import ControlServer
from .service import Control
from .sessions import SessionHead, Sessions, session_head

__all__ = ["BuildKit", "Sources"]


class BuildKit:
    """BuildKit's protocol over one engine. Starts nothing: each connection is its caller's task."""

    def __init__(self, sources: Sources) -> None:
        self._sessions, jobs = Sessions(), Jobs()
        control = Control(
            sources,
            sessions=self._sessions,
            jobs=jobs,
            materials=Materials(sources.builder.contexts, disk=sources.disk),
        )
        self._server = ControlServer(control)
        self.classic = ClassicCalls(control, self._sessions, jobs)

    def session(self, id_: str, name: str, methods: Sequence[str]) -> SessionHead:
        """A session that may be opened now.

        Raises:
            InvalidParameter, Conflict, Unavailable: it may not.
        """
        head = session_head(id_, name, methods)
        self._sessions.check(head)
        return head

    async def serve_session(self, head: SessionHead, stream: trio.abc.HalfCloseableStream) -> None:
        """Have it open until the client goes."""
        await self._sessions.serve(head, stream)

    def check_calls(self) -> None:
        """Raises Unavailable when there are too many connections."""
        self._server.check()

    async def serve_calls(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Answer a client's calls until it goes."""
        await self._server.serve(stream)
