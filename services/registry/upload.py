"""One blob from containerd's content store to a registry, unless the registry has it already.

Source: distribution-spec, "Pushing blobs" and "Mounting a blob from another repository".
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

import httpx
import trio

from services.errors import EngineError
from services.images.oci import OciDescriptor
from services.images.origins import LABEL_SOURCE

from .endpoints import Endpoint
from .errors import RegistryError
from .ports import ContentClient
from .retry import retrying
from .session import Session
from .settings import RegistrySettings

MAX_MOUNT_SOURCES: Final = 3
OCTETS: Final = "application/octet-stream"


class UploadWatch(Protocol):
    """Told how a blob goes along."""

    def waiting(self) -> None:
        """Others are before it."""

    def progress(self, done_bytes: int, total_bytes: int) -> None:
        """So much has been sent."""

    def retrying(self, in_s: float) -> None:
        """A try failed; the next one begins in so many seconds."""

    def ended(self, how: str) -> None:
        """The registry has it; in dockerd's words how that came."""


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


class BlobUploader:
    """Uploads blobs for all pushes, so many at a time."""

    def __init__(self, content: ContentClient, settings: Callable[[], RegistrySettings]) -> None:
        self._content, self._settings = content, settings
        self._slots = trio.CapacityLimiter(1)

    async def upload(self, to: Destination, blob: OciDescriptor, watch: UploadWatch) -> None:
        """Have `blob` in the registry.

        Raises:
            RegistryError, Unreachable: it does not go, after all attempts.
            NotFound: it is not here.
        """
        self._slots.total_tokens = self._settings().max_uploads or 5
        if self._slots.available_tokens <= 0:
            watch.waiting()
        async with self._slots:
            sources = await self._sources(to, blob)
            how = await retrying(
                lambda: self._once(to, blob, sources, watch),
                attempts=self._settings().max_attempts,
                waiting=watch.retrying,
            )
        await self._remember(to, blob)
        watch.ended(how)

    async def _once(
        self, to: Destination, blob: OciDescriptor, sources: Sequence[str], watch: UploadWatch
    ) -> str:
        if await _exists(to, blob):
            return "Layer already exists"
        location: str | None = None
        for source in sources:
            if location is not None:
                await _give_up(to, location)
            location = await _mount(to, blob, source)
            if location is None:
                return f"Mounted from {source.removeprefix('library/')}"
        await self._send(to, blob, location or await _begin(to), watch)
        return "Pushed"

    async def _send(
        self, to: Destination, blob: OciDescriptor, location: str, watch: UploadWatch
    ) -> None:
        async def body() -> AsyncGenerator[bytes, None]:
            done = 0
            async with aclosing(self._content.read(blob.digest)) as pieces:
                async for piece in pieces:
                    watch.progress(done, blob.size)
                    yield piece
                    done += len(piece)
            watch.progress(done, blob.size)

        headers = {"Content-Type": OCTETS, "Content-Length": str(blob.size)}
        async with to.session.stream(
            to.endpoint, "PATCH", location, scopes=to.scopes(), headers=headers, body=body
        ) as response:
            location = _location(response)
        end = str(httpx.URL(location).copy_merge_params({"digest": blob.digest}))
        async with to.session.stream(
            to.endpoint, "PUT", end, scopes=to.scopes(), headers={"Content-Length": "0"}
        ):
            return

    async def _sources(self, to: Destination, blob: OciDescriptor) -> list[str]:
        """Repositories of the same registry that have had the blob."""
        info = await self._content.info(blob.digest)
        known = info.labels.get(LABEL_SOURCE + to.domain, "").split(",")
        return [name for name in known if name and name != to.repository][-MAX_MOUNT_SOURCES:]

    async def _remember(self, to: Destination, blob: OciDescriptor) -> None:
        """The registry has it in this repository now: the next one may mount it from there."""
        label = LABEL_SOURCE + to.domain
        info = await self._content.info(blob.digest)
        known = [name for name in info.labels.get(label, "").split(",") if name]
        if to.repository not in known:
            joined = ",".join([*known[-MAX_MOUNT_SOURCES:], to.repository])
            await self._content.update_labels(blob.digest, {label: joined})


async def _exists(to: Destination, blob: OciDescriptor) -> bool:
    async with to.session.stream(
        to.endpoint,
        "HEAD",
        to.path(f"blobs/{blob.digest}"),
        scopes=to.scopes(),
        accept=frozenset({404}),
    ) as response:
        return response.is_success


async def _begin(to: Destination) -> str:
    """Begin an upload; the URL to send to."""
    async with to.session.stream(
        to.endpoint,
        "POST",
        to.path("blobs/uploads/"),
        scopes=to.scopes(),
        headers={"Content-Length": "0"},
    ) as response:
        return _location(response)


async def _mount(to: Destination, blob: OciDescriptor, source: str) -> str | None:
    """Let the repository have a blob of another one. None: done; else an upload has begun there."""
    query = httpx.QueryParams({"mount": blob.digest, "from": source})
    try:
        async with to.session.stream(
            to.endpoint,
            "POST",
            f"{to.path('blobs/uploads/')}?{query}",
            scopes=to.scopes(source),
            headers={"Content-Length": "0"},
        ) as response:
            return None if response.status_code == 201 else _location(response)
    except RegistryError as error:
        if error.may_pass:
            raise
        return await _begin(to)  # the other repository is not ours to read


async def _give_up(to: Destination, location: str) -> None:
    """Tell the registry that an upload will not go on; what it says to that does not matter."""
    everything = frozenset(range(300, 600))
    async with to.session.stream(
        to.endpoint, "DELETE", location, scopes=to.scopes(), accept=everything
    ):
        return


def _location(response: httpx.Response) -> str:
    location = response.headers.get("location")
    if not location:
        raise EngineError("the registry began an upload and did not say where")
    url = response.url.join(location)
    if url.scheme not in ("http", "https"):
        raise EngineError(f"the registry began an upload at {url.scheme!r}")
    return str(url)
