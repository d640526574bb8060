"""Builds by POST /build with a session, as clients without buildx ask for them.

The answer's lines carry the same status messages that buildx reads from a stream.

Source: moby, builder/builder-next/builder.go (Build, Cancel); docker/cli 20.10,
cli/command/image/build_buildkit.go.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Final

import trio

from services.build.output import Tell
from services.build.request import BuildRequest
from services.errors import EngineError, InvalidParameter, single_error
from services.images import Image
from services.images.ports import Body

from .attributes import CONTEXT_DIR, DOCKERFILE_DIR, Wish, without_remote
from .board import StatusBoard
from .exports import Export
from .failures import BuildFailed
from .jobs import Jobs
from .service import Control
from .sessions import Sessions
from .uploads import Uploads

TRACE: Final = "moby.buildkit.trace"
IMAGE_ID: Final = "moby.image.id"
SESSION_REMOTE: Final = "client-session"
UPLOAD_REMOTE: Final = "upload-request"


class ClassicCalls:
    """POST /build?version=2, and what breaks one off."""

    def __init__(self, control: Control, sessions: Sessions, jobs: Jobs) -> None:
        self._control, self._sessions, self._jobs = control, sessions, jobs
        self._scopes: dict[str, trio.CancelScope] = {}
        self._uploads = Uploads()

    async def upload(self, build_id: str, body: Body) -> None:
        """The context of a build, sent beside it; returns when the build has read it.

        Raises:
            DeadlineExceeded: no build wants it.
        """
        await self._uploads.offer(build_id.removeprefix(f"{UPLOAD_REMOTE}:"), body)

    async def build(
        self, request: BuildRequest, session_id: str, build_id: str, tell: Tell
    ) -> Image:
        """Build from the session's directories, or the request's remote context; tell how it goes.

        Raises:
            EngineError: it failed, or was cancelled by `cancel`.
        """
        wish = _wish(request)
        session = await self._sessions.find(session_id)
        name = build_id or session_id
        with self._jobs.opened(name) as job:
            async with AsyncExitStack() as stack, _told(job.board, tell):
                if request.remote == UPLOAD_REMOTE:
                    body = await stack.enter_async_context(self._uploads.taken(name))
                    wish = replace(wish, body=body)
                try:
                    with self._cancellable(name) as scope:
                        image = await self._control.build(job, session, wish, stack)
                        export = Export(references=request.references)
                        await self._control.export(job, session, image, export)
                except BuildFailed as error:
                    raise EngineError(f"failed to solve: {error}") from error
                if scope.cancelled_caught:
                    raise EngineError("context canceled")
        await tell({"id": IMAGE_ID, "aux": {"ID": image.id}})
        return image

    def cancel(self, build_id: str) -> None:
        """Break a build off, if it is there still.

        Raises:
            InvalidParameter: no build is named.
        """
        if not build_id:
            raise InvalidParameter("build ID not provided")
        scope = self._scopes.get(build_id)
        if scope is not None:
            scope.cancel()

    @contextmanager
    def _cancellable(self, name: str) -> Iterator[trio.CancelScope]:
        with trio.CancelScope() as scope:
            self._scopes[name] = scope
            try:
                yield scope
            finally:
                del self._scopes[name]


def _wish(request: BuildRequest) -> Wish:
    if request.remote == UPLOAD_REMOTE:
        return Wish(request=without_remote(request), context_dir="", dockerfile_dir="")
    if request.remote in ("", SESSION_REMOTE):
        return Wish(
            request=without_remote(request),
            context_dir=CONTEXT_DIR,
            dockerfile_dir=DOCKERFILE_DIR,
        )
    return Wish(request=request, context_dir="", dockerfile_dir="")


@asynccontextmanager
async def _told(board: StatusBoard, tell: Tell) -> AsyncIterator[None]:
    """What stands on the board is told while the block lasts, all of it before it is left."""

    async def tell_all() -> None:
        async for batch in board.watch():
            await tell({"id": TRACE, "aux": base64.b64encode(bytes(batch)).decode()})

    with single_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_all)
            try:
                yield
            finally:
                board.close()
