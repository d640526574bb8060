"""A large blob on its way into containerd's content store, through the file of its ingest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import trio

from protos.generated.containerd.services.content.v1 import AbortRequest
from services.errors import Conflict, EngineError, NotFound, Unavailable

from .connection import Connection
from .content_writer import ABORT, RESUME, WRITE, ContentWriter
from .errors import AlreadyExists
from .ingest_files import IngestFile

SHARED_SUFFIX: Final = "-shared"
"""Ends the name under which containerd takes a blob over; the ingest itself has the one before."""
_PLACINGS: Final = 5  # the collector would have to run between two calls, so many times
_REOPENINGS: Final = 40
_DROPS: Final = 3
_AGAIN_S: Final = 0.05


class FileWriter:
    """One large blob being written, for one task at a time, into the ingest's own file."""

    def __init__(
        self, connection: Connection, file: IngestFile, *, ref: str, total: int, expected: str
    ) -> None:
        self.ref = ref
        self._connection, self._file = connection, file
        self._total, self._expected = total, expected

    @property
    def offset(self) -> int:
        """Bytes that are written; the next write goes there."""
        return self._file.offset

    @property
    def digest(self) -> str:
        """Of these."""
        return self._file.digest

    async def write(self, data: bytes | memoryview) -> None:
        """As `ContentWriter.write`."""
        try:
            await self._file.write(data)
        except OSError as error:
            raise EngineError(f"{WRITE.about(self.ref)}: {error.strerror}") from error

    async def commit(
        self, labels: Mapping[str, str] | None = None, *, expected: str = "", total: int = 0
    ) -> str:
        """As `ContentWriter.commit`; also in another task than what was written, in its block."""
        expected, total = expected or self._expected, total or self._total
        about = WRITE.about(self.ref)
        if total and total != self.offset:
            raise Conflict(f"{about}: {self.offset} bytes written, expected {total}")
        if expected and expected != self.digest:
            raise Conflict(f"{about}: the digest is {self.digest}, expected {expected}")
        try:
            if not await self._share(labels):
                await _while_locked(lambda: self._hash_again(labels))
                return self.digest
        except AlreadyExists:
            await self._drop(self.ref)
            raise
        await self._drop(self.ref)
        return self.digest

    async def _share(self, labels: Mapping[str, str] | None) -> bool:
        """Put the blob where blobs are and have containerd take it; whether it does.

        A blob that no namespace has is the collector's: should it run before containerd knows of
        ours, the blob is put there once more.
        """
        size = self.offset
        for number in range(_PLACINGS):
            try:
                await self._file.place()
            except OSError:  # the disk's errors come up again where containerd syncs
                return False
            ref = f"{self.ref}{SHARED_SUFFIX}{number or ''}"
            async with self._connection.stream(WRITE, ref) as stream:
                writer = ContentWriter(stream, ref, 0)
                await writer.open(size, self.digest)
                if writer.offset == size:
                    await writer.commit(labels)
                    return True
            await self._drop(ref)
        return False

    async def _hash_again(self, labels: Mapping[str, str] | None) -> None:
        """Open the ingest again, for which containerd reads all of it, and commit it."""
        async with self._connection.stream(RESUME, self.ref) as stream:
            writer = ContentWriter(stream, self.ref, 0)
            await writer.open(self.offset, self.digest)
            if writer.offset != self.offset:
                raise EngineError(
                    f"{WRITE.about(self.ref)}: {self.offset} bytes written, "
                    f"and containerd has {writer.offset}"
                )
            await writer.commit(labels)

    async def _drop(self, ref: str) -> None:
        """Throw an ingest away. One that containerd still writes to at last goes with its lease."""
        for _ in range(_DROPS):
            try:
                await self._connection.unary(ABORT, AbortRequest(ref=ref), ref)
            except NotFound:
                return
            except EngineError:
                pass
            else:
                return
            await trio.sleep(_AGAIN_S)


async def _while_locked(work: Callable[[], Awaitable[None]]) -> None:
    """Try again while containerd has not let go of the call that began the ingest."""
    for attempts_left in reversed(range(_REOPENINGS)):
        try:
            return await work()
        except Unavailable:
            if not attempts_left:
                raise
            await trio.sleep(_AGAIN_S)
    raise AssertionError("the last attempt raises")
