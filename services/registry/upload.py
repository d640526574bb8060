"""One blob from containerd's content store to a registry, unless the registry has it already.

Source: distribution-spec, "Pushing blobs" and "Mounting a blob from another repository".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import httpx
import trio

from services.images.oci import OciDescriptor
from services.images.origins import LABEL_SOURCE

from .errors import RegistryError
from .ports import ContentClient
from .retry import retrying
from .settings import RegistrySettings
from .transmission import Destination, Transmission, begin_upload, location_of

MAX_MOUNT_SOURCES: Final = 3


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
            sending = Transmission(content=self._content, to=to, blob=blob, watch=watch)
            how = await retrying(
                lambda: self._once(sending, sources),
                attempts=self._settings().max_attempts,
                waiting=watch.retrying,
            )
        await self._remember(to, blob)
        watch.ended(how)

    async def _once(self, sending: Transmission, sources: Sequence[str]) -> str:
        """One try; what it comes to, in dockerd's words."""
        to, blob = sending.to, sending.blob
        if await _exists(to, blob):
            return "Layer already exists"
        if not await sending.goes_on():
            location = ""
            for source in sources:
                if location:
                    await _give_up(to, location)
                mounted = await _mount(to, blob, source)
                if mounted is None:
                    return f"Mounted from {source.removeprefix('library/')}"
                location = mounted
            sending.begin(location or await begin_upload(to))
        await sending.send()
        return "Pushed"

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
            return None if response.status_code == 201 else location_of(response)
    except RegistryError as error:
        if error.may_pass:
            raise
        return await begin_upload(to)  # the other repository is not ours to read


async def _give_up(to: Destination, location: str) -> None:
    """Tell the registry that an upload will not go on; what it says to that does not matter."""
    everything = frozenset(range(300, 600))
    async with to.session.stream(
        to.endpoint, "DELETE", location, scopes=to.scopes(), accept=everything
    ):
        return
