"""The bytes of one blob on their way to a registry: in chunks, and after a break from where it is.

A blob that is not large goes in one request, as dockerd sends all of them: every registry knows
that. Of a larger one each request brings a chunk. What a registry has taken stays there until it
forgets the upload, so a try that broke off costs no more than the chunk that was under way. One
that knows no chunks gets the blob in one request all the same, from the beginning.

Source: distribution-spec, "Pushing a blob in chunks" and "Getting the status of an upload".
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

import httpx

from services.errors import EngineError
from services.images.oci import OciDescriptor

from .addresses import url_of
from .endpoints import Endpoint
from .errors import RegistryError, Unreachable
from .ports import ContentClient
from .session import Session

CHUNK_BYTES: Final = 64 << 20
OCTETS: Final = "application/octet-stream"
_EVERY_REFUSAL: Final = frozenset(range(300, 600))
# What those say that take a blob in one request only, or have lost count.
_NO_CHUNKS: Final = frozenset({400, 405, 411, 416, 501})


class TransmissionWatch(Protocol):
    """Told how far it is."""

    def progress(self, done_bytes: int, total_bytes: int) -> None:
        """So much has been sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where blobs go."""

    session: Session
    endpoint: Endpoint
    domain: str
    repository: str

    def scopes(self, *sources: str) -> tuple[str, ...]:
        """What a token must be good for; `sources` are repositories to mount from."""
        own = f"repository:{self.repository}:pull,push"
        return (own, *(f"repository:{source}:pull" for source in sources))

    def path(self, rest: str) -> str:
        """A path of the repository."""
        return f"/v2/{self.repository}/{rest}"


@dataclass(slots=True, kw_only=True)
class Transmission:
    """One blob's upload. It outlives the tries at it; `location` is where it is, once begun."""

    content: ContentClient
    to: Destination
    blob: OciDescriptor
    watch: TransmissionWatch
    chunk_bytes: int = CHUNK_BYTES
    location: str = ""
    offset: int = 0  # the registry has what is before it
    is_whole: bool = False  # the registry knows no chunks

    async def goes_on(self) -> bool:
        """Whether the registry still has what an earlier try brought; `offset` is true then."""
        if not self.location or self.is_whole:
            return False
        to = self.to
        async with to.session.stream(
            to.endpoint, "GET", self.location, scopes=to.scopes(), accept=_EVERY_REFUSAL
        ) as response:
            if not response.is_success:
                return False
            self.offset = _taken(response)
            self.location = location_of(response, self.location)
        return self.offset <= self.blob.size

    def begin(self, location: str) -> None:
        """It has been begun at the registry, with nothing in it."""
        self.location, self.offset = location, 0

    async def send(self) -> None:
        """Bring what is missing, and have the registry take the blob.

        Raises:
            RegistryError, Unreachable: it broke off. `offset` is where the next try goes on.
        """
        while self.offset < self.blob.size:
            try:
                await self._chunk()
            except RegistryError as error:
                if error.status == 404:
                    self.location = ""
                    raise Unreachable(f"the registry has forgotten the upload: {error}") from error
                if self.is_whole or self._size == self.blob.size or error.status not in _NO_CHUNKS:
                    raise
                self.is_whole = True
                self.begin(await begin_upload(self.to))
        to = self.to
        end = str(httpx.URL(self.location).copy_merge_params({"digest": self.blob.digest}))
        async with to.session.stream(
            to.endpoint, "PUT", end, scopes=to.scopes(), headers={"Content-Length": "0"}
        ):
            self.watch.progress(self.blob.size, self.blob.size)

    @property
    def _size(self) -> int:
        """Bytes of the next request."""
        left = self.blob.size - self.offset
        return left if self.is_whole else min(left, self.chunk_bytes)

    async def _chunk(self) -> None:
        size, start, to = self._size, self.offset, self.to
        headers = {"Content-Type": OCTETS, "Content-Length": str(size)}
        if size != self.blob.size:
            headers["Content-Range"] = f"{start}-{start + size - 1}"
        async with to.session.stream(
            to.endpoint,
            "PATCH",
            self.location,
            scopes=to.scopes(),
            headers=headers,
            body=lambda: self._bytes(start, size),
        ) as response:
            taken = _taken(response)
            if 0 < taken <= start:
                raise EngineError(f"the registry takes nothing of {self.blob.digest}")
            self.offset = min(taken or start + size, start + size)
            self.location = location_of(response)

    async def _bytes(self, start: int, size: int) -> AsyncGenerator[bytes, None]:
        done = start
        async with aclosing(self.content.read(self.blob.digest, start, size)) as pieces:
            async for piece in pieces:
                self.watch.progress(done, self.blob.size)
                yield piece
                done += len(piece)


async def begin_upload(to: Destination) -> str:
    """Begin an upload; the URL to send to."""
    async with to.session.stream(
        to.endpoint,
        "POST",
        to.path("blobs/uploads/"),
        scopes=to.scopes(),
        headers={"Content-Length": "0"},
    ) as response:
        return location_of(response)


def location_of(response: httpx.Response, otherwise: str = "") -> str:
    """Where an upload goes on.

    Raises:
        EngineError: the registry does not say it, or says nonsense.
    """
    location = response.headers.get("location") or otherwise
    if not location:
        raise EngineError("the registry began an upload and did not say where")
    url = url_of(location, response.url)
    if url.scheme not in ("http", "https"):
        raise EngineError(f"the registry began an upload at {url.scheme!r}")
    return str(url)


def _taken(response: httpx.Response) -> int:
    """How many bytes the registry has; 0 too where it does not say, as with "0-0"."""
    _, dash, last = response.headers.get("range", "").rpartition("-")
    end = int(last) if dash and last.isascii() and last.isdecimal() else 0
    return end + 1 if end else 0
