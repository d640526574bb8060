"""One blob from a registry into containerd's content store: resumed, repeated, verified, shared.

What has come stays in containerd as an ingest named after the digest. Whoever wants the blob next,
after a broken connection or in another daemon, asks the registry for the rest of it only.
containerd hashes what it is given and takes nothing but what the digest promises.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import httpx
import trio

from services.containerd.errors import AlreadyExists
from services.errors import Conflict, EngineError, InvalidParameter, NotFound, Unavailable
from services.images.oci import OciDescriptor
from services.images.origins import LABEL_SOURCE

from .endpoints import Endpoint
from .errors import Unreachable
from .failures import unreachable
from .leases import ingest_ref
from .locks import KeyedLocks
from .ports import BlobWriter, ContentClient
from .retry import retrying
from .session import Session
from .settings import RegistrySettings

PIECE_BYTES: Final = 1 << 20
_LOCKED_LIMIT_S: Final = 10.0  # containerd lets go of a writer once it has heard of its end
_LOCKED_AGAIN_S: Final = 0.05


class FetchWatch(Protocol):
    """Told how a blob comes along."""

    def starting(self) -> None:
        """It is not here."""

    def waiting(self) -> None:
        """Others are before it."""

    def progress(self, done_bytes: int, total_bytes: int) -> None:
        """So much is here."""

    def retrying(self, in_s: float) -> None:
        """A try failed; the next one begins in so many seconds."""

    def verifying(self) -> None:
        """All is here, and is checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobSource:
    """Where blobs come from."""

    session: Session
    endpoint: Endpoint
    domain: str  # of the reference, e.g. "docker.io"
    repository: str

    @property
    def labels(self) -> dict[str, str]:
        """What a blob says of where it came from, in containerd's spelling: a push may use it."""
        return {LABEL_SOURCE + self.domain: self.repository}


class BlobFetcher:
    """Fetches blobs for all pulls: so many at a time, and none twice."""

    def __init__(
        self,
        content: ContentClient,
        settings: Callable[[], RegistrySettings],
    ) -> None:
        self._content, self._settings = content, settings
        self._locks = KeyedLocks()
        self._slots = trio.CapacityLimiter(1)

    def is_wanted(self, digest: str) -> bool:
        """Whether somebody fetches this blob now, or waits to."""
        return digest in self._locks

    async def fetch(
        self,
        source: BlobSource,
        blob: OciDescriptor,
        watch: FetchWatch,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> bool:
        """Have `blob` in the content store, under the caller's lease; whether it had to be fetched.

        Started once it has its place among those that wait: whoever starts the next one then has
        them come in that order.

        Raises:
            RegistryError, Unreachable: it does not come, after all attempts.
            EngineError: what came is not what its digest and size promise.
        """
        if blob.size < 0:
            raise InvalidParameter(f"invalid size {blob.size} of {blob.digest}")
        if await self._is_here(source, blob):
            task_status.started()
            return False
        watch.starting()
        self._slots.total_tokens = self._settings().max_downloads or 3
        if self._slots.available_tokens <= 0 or blob.digest in self._locks:
            watch.waiting()
        task_status.started()
        async with self._locks.hold(blob.digest):
            if await self._is_here(source, blob):
                return True  # by somebody else, while we waited
            async with self._slots:
                await self._fetch(source, blob, watch)
        return True

    async def _fetch(self, source: BlobSource, blob: OciDescriptor, watch: FetchWatch) -> None:
        attempt = _Attempt(self._content, source, blob, watch)
        try:
            await retrying(
                attempt.run, attempts=self._settings().max_attempts, waiting=watch.retrying
            )
        except _NotVerified:
            if not attempt.has_resumed:
                raise
            # What an earlier daemon left may have been bad: once more, and nothing of it.
            await retrying(
                attempt.run, attempts=self._settings().max_attempts, waiting=watch.retrying
            )

    async def _is_here(self, source: BlobSource, blob: OciDescriptor) -> bool:
        """Whether the store has it; if so it is under our lease now, and knows its source."""
        try:
            info = await self._content.info(blob.digest)
        except NotFound:
            return False
        if info.size_bytes != blob.size:
            raise EngineError(
                f"{blob.digest} has {info.size_bytes} bytes, not the {blob.size} of its descriptor"
            )
        try:
            async with _open(self._content, blob):
                return False
        except AlreadyExists:
            pass
        known = info.labels.get(LABEL_SOURCE + source.domain, "")
        repositories = [name for name in known.split(",") if name]
        if source.repository not in repositories:
            joined = ",".join([*repositories, source.repository])
            labels = {LABEL_SOURCE + source.domain: joined}
            await self._content.update_labels(blob.digest, labels)
        return True


class _NotVerified(EngineError):
    """What came has another digest."""


@dataclass(slots=True)
class _Attempt:
    """Tries at one blob. `run` is one try, which goes on where the last one ended."""

    content: ContentClient
    source: BlobSource
    blob: OciDescriptor
    watch: FetchWatch
    has_resumed: bool = False  # there was something before the first try

    async def run(self) -> None:
        blob = self.blob
        try:
            async with _open(self.content, blob) as writer:
                self.has_resumed = self.has_resumed or writer.offset > 0
                if writer.offset < blob.size:
                    await self._receive(writer)
                self.watch.verifying()
                await self._commit(writer)
        except AlreadyExists:
            return
        except _NotVerified:
            await self._abort()
            raise

    async def _receive(self, writer: BlobWriter) -> None:
        source, blob, offset = self.source, self.blob, writer.offset
        headers = {"Range": f"bytes={offset}-{blob.size - 1}"} if offset else {}
        async with source.session.stream(
            source.endpoint,
            "GET",
            f"/v2/{source.repository}/blobs/{blob.digest}",
            scopes=(f"repository:{source.repository}:pull",),
            headers=headers,
        ) as response:
            skip = offset - _start_of(response, offset)
            if skip < 0:
                raise EngineError(f"the registry sent another part of {blob.digest}")
            await self._copy(response, writer, skip)
        if writer.offset < blob.size:
            raise Unreachable(
                f"unexpected EOF: {writer.offset} of {blob.size} bytes of {blob.digest}"
            )

    async def _copy(self, response: httpx.Response, writer: BlobWriter, skip: int) -> None:
        """Write what comes, in pieces worth sending; when it breaks off, what had come."""
        gathered = bytearray()
        broken: Exception | None = None
        try:
            async for data in response.aiter_raw():
                if skip:
                    data, skip = data[skip:], max(0, skip - len(data))
                gathered += data
                if len(gathered) >= PIECE_BYTES:
                    await self._write(writer, gathered)
        except httpx.HTTPError as error:
            broken = error
        await self._write(writer, gathered)
        if broken is not None:
            raise unreachable("GET", response.url, broken) from broken

    async def _write(self, writer: BlobWriter, gathered: bytearray) -> None:
        if writer.offset + len(gathered) > self.blob.size:
            raise _NotVerified(_not_verified(self.blob, "it is longer than its descriptor says"))
        if gathered:
            await writer.write(bytes(gathered))
            gathered.clear()
        self.watch.progress(writer.offset, self.blob.size)

    async def _commit(self, writer: BlobWriter) -> None:
        try:
            await writer.commit(self.source.labels)
        except AlreadyExists:
            raise
        except Conflict as error:  # failed precondition: digest or size
            raise _NotVerified(_not_verified(self.blob, str(error))) from error

    async def _abort(self) -> None:
        with trio.move_on_after(_LOCKED_LIMIT_S, shield=True):
            while True:
                try:
                    return await self.content.abort(ingest_ref(self.blob.digest))
                except NotFound:
                    return None
                except EngineError:
                    await trio.sleep(_LOCKED_AGAIN_S)


@asynccontextmanager
async def _open(content: ContentClient, blob: OciDescriptor) -> AsyncIterator[BlobWriter]:
    """The blob's writer; waits for one that has ended, but not yet for containerd."""
    deadline = trio.current_time() + _LOCKED_LIMIT_S
    while True:
        entered = False
        try:
            async with content.writer(
                ingest_ref(blob.digest), total=blob.size, expected=blob.digest
            ) as writer:
                entered = True
                yield writer
                return
        except Unavailable as error:
            if entered or "locked" not in str(error) or trio.current_time() > deadline:
                raise
        await trio.sleep(_LOCKED_AGAIN_S)


def _start_of(response: httpx.Response, wanted: int) -> int:
    """The offset of the answer's first byte: a server may not know ranges."""
    if response.status_code != 206:
        return 0
    unit, _, rest = response.headers.get("content-range", "").partition(" ")
    first = rest.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else wanted


def _not_verified(blob: OciDescriptor, why: str) -> str:
    return f"filesystem layer verification failed for digest {blob.digest}: {why}"
