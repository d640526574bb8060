"""POST /images/create with a source: `docker import`.

Source: Engine API, ImageCreate; moby, api/server/router/image and daemon/images/image_import.go.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from services.api.streams.message_lines import Tell, message_line, told_lines
from services.api.types.platforms import parse_import_platform
from services.api.wire.query import Query
from services.api.wire.request import EngineRequest
from services.api.wire.responses import EngineResponse, StreamResponse
from services.errors import InvalidParameter
from services.images import Reference, parse_reference
from services.images.download import Download, download, download_url
from services.images.imports import Compose, ImportRequest, import_image
from services.images.ports import Body

UPLOAD: Final = "-"
_REPORT_EVERY_BYTES: Final = 1 << 19


def answer_import(request: EngineRequest, compose: Compose) -> EngineResponse:
    """The answer to a create that names a source."""
    query = request.query
    wanted = _wanted(query)
    wanted.config()  # what is wrong with it is told before anything is fetched
    source = query.text("fromSrc")
    if source == UPLOAD:
        return StreamResponse(_uploaded(wanted, request.body, compose))
    return StreamResponse(_downloaded(wanted, download_url(source), compose))


def wanted_reference(repository: str, tag: str) -> Reference | None:
    """The name for an image that is made; None when it gets none.

    Raises:
        InvalidParameter: no reference; or one with a digest, which cannot be chosen.
    """
    if not repository:
        return None
    reference = parse_reference(repository)
    if reference.digest is not None:
        raise InvalidParameter("cannot import digest reference")
    return reference.with_tag(tag) if tag else reference.tagged()


def _wanted(query: Query) -> ImportRequest:
    platform = query.text("platform")
    return ImportRequest(
        reference=wanted_reference(query.text("repo"), query.text("tag")),
        message=query.text("message"),
        changes=query.values("changes"),
        platform=parse_import_platform(platform) if platform else None,
    )


@asynccontextmanager
async def _uploaded(
    wanted: ImportRequest, body: Body, compose: Compose
) -> AsyncIterator[AsyncIterable[bytes]]:
    """All is done before the head leaves: until then an error is an ordinary answer."""
    image_id = await import_image(wanted, body, compose)

    async def lines() -> AsyncIterator[bytes]:
        yield message_line({"status": image_id})

    yield lines()


@asynccontextmanager
async def _downloaded(
    wanted: ImportRequest, url: str, compose: Compose
) -> AsyncIterator[AsyncIterable[bytes]]:
    """The server answers before the head leaves; who leaves before the end has imported nothing."""

    async def work(tell: Tell) -> None:
        await tell({"status": f"Downloading from {url}"})
        image_id = await import_image(wanted, _Told(body, tell), compose)
        await tell({"status": image_id})

    async with download(url) as body, told_lines(work, what="import") as lines:
        yield lines


class _Told:
    """A download whose progress goes to the client."""

    def __init__(self, body: Download, tell: Tell) -> None:
        self._body, self._tell = body, tell

    async def __aiter__(self) -> AsyncIterator[bytes]:
        done = told = 0
        async for piece in self._body:
            done += len(piece)
            if done - told >= _REPORT_EVERY_BYTES or done == self._body.total_bytes:
                told = done
                await self._tell(_progress(done, self._body.total_bytes))
            yield piece


def _progress(done: int, total: int) -> dict[str, Any]:
    detail = {"current": done} | ({"total": total} if total else {})
    return {"status": "Importing", "progressDetail": detail}
