"""containerd's content store: blobs by their digest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final

import trio
from grpclib.const import Cardinality

from protos.generated.containerd.services.content.v1 import (
    AbortRequest,
    DeleteContentRequest,
    Info,
    InfoRequest,
    InfoResponse,
    ListContentRequest,
    ListContentResponse,
    ListStatusesRequest,
    ListStatusesResponse,
    ReadContentRequest,
    ReadContentResponse,
    Status,
    UpdateRequest,
    UpdateResponse,
    WriteAction,
    WriteContentRequest,
    WriteContentResponse,
)
from protos.generated.wire import Empty, FieldMask
from services.errors import EngineError, InvalidParameter, Unavailable

from ._method import BULK_RPC_LIMIT_S, RPC_LIMIT_S, SLOW_RPC_LIMIT_S, Method
from ._stream import Stream
from ._wire import to_ns
from .connection import Connection
from .content_root import ContentRoot
from .ingest_files import MIN_BYTES, IngestFile, IngestFiles
from .values import ContentInfo, IngestStatus

# Far below gRPC's 16 MB a message, and large enough that the answer to each costs little.
CHUNK_BYTES: Final = 1024 * 1024

_REOPENINGS: Final = 40
_REOPEN_AGAIN_S: Final = 0.05

_SERVICE: Final = "containerd.services.content.v1.Content"
INFO: Final = Method(service=_SERVICE, name="Info", request=InfoRequest, reply=InfoResponse)
UPDATE: Final = Method(service=_SERVICE, name="Update", request=UpdateRequest, reply=UpdateResponse)
LIST: Final = Method(
    service=_SERVICE,
    name="List",
    request=ListContentRequest,
    reply=ListContentResponse,
    cardinality=Cardinality.UNARY_STREAM,
)
DELETE: Final = Method(service=_SERVICE, name="Delete", request=DeleteContentRequest, reply=Empty)
READ: Final = Method(
    service=_SERVICE,
    name="Read",
    request=ReadContentRequest,
    reply=ReadContentResponse,
    cardinality=Cardinality.UNARY_STREAM,
    limit_s=RPC_LIMIT_S,
)
STATUSES: Final = Method(
    service=_SERVICE, name="ListStatuses", request=ListStatusesRequest, reply=ListStatusesResponse
)
# A commit hashes what an earlier writer left, and syncs.
WRITE: Final = Method(
    service=_SERVICE,
    name="Write",
    request=WriteContentRequest,
    reply=WriteContentResponse,
    cardinality=Cardinality.STREAM_STREAM,
    limit_s=SLOW_RPC_LIMIT_S,
)
# Opened again, containerd hashes all that is there before it answers.
RESUME: Final = replace(WRITE, limit_s=BULK_RPC_LIMIT_S)
ABORT: Final = Method(service=_SERVICE, name="Abort", request=AbortRequest, reply=Empty)


class ContentWriter:
    """One blob being written, for one task at a time. Comes from `Content.writer`."""

    def __init__(
        self, stream: Stream[WriteContentRequest, WriteContentResponse], ref: str, offset: int
    ) -> None:
        self.ref = ref
        self.offset = offset  # bytes that containerd has; the next write goes there
        self.digest = ""  # of these
        self._stream = stream
        self._total = 0
        self._expected = ""

    async def write(self, data: bytes | memoryview) -> None:
        """Append `data`, of any length; returns once containerd has it (not: has it synced)."""
        view = memoryview(data)
        for start in range(0, len(view), CHUNK_BYTES):
            chunk = bytes(view[start : start + CHUNK_BYTES])
            request = WriteContentRequest(
                action=WriteAction.WRITE,
                ref=self.ref,
                offset=self.offset,
                data=chunk,
            )
            reply = await self._exchange(request)
            if reply.offset != self.offset + len(chunk):
                raise EngineError(
                    f"{WRITE.about(self.ref)}: {len(chunk)} bytes sent at {self.offset}, "
                    f"and containerd is at {reply.offset}"
                )
            self.offset, self.digest = reply.offset, reply.digest

    async def commit(
        self, labels: Mapping[str, str] | None = None, *, expected: str = "", total: int = 0
    ) -> str:
        """Make the blob part of the store and return its digest; nothing can be written after it.

        `expected` (a digest) and `total` (bytes) are checked when given, and default to what the
        writer was opened with. AlreadyExists if the blob came by another way meanwhile.
        """
        request = WriteContentRequest(
            action=WriteAction.COMMIT,
            ref=self.ref,
            offset=self.offset,
            total=total or self._total or self.offset,
            expected=expected or self._expected,
            labels=dict(labels or {}),
        )
        # It is the last: said here, or containerd resets the stream and its answer may be lost.
        return (await self._exchange(request, end=True)).digest

    async def _open(self, total: int, expected: str) -> str:
        """Begin or go on; the digest of what is there."""
        self._total, self._expected = total, expected
        request = WriteContentRequest(
            action=WriteAction.STAT, ref=self.ref, total=total, expected=expected
        )
        reply = await self._exchange(request)
        self.offset, self.digest = reply.offset, reply.digest
        return reply.digest

    async def _exchange(
        self, request: WriteContentRequest, *, end: bool = False
    ) -> WriteContentResponse:
        await self._stream.send(request, end=end)
        reply = await self._stream.receive()
        if reply is None:
            raise EngineError(f"{WRITE.about(self.ref)}: containerd ended the call")
        return reply


class FileWriter:
    """One large blob being written, for one task at a time, into the ingest's own file."""

    def __init__(
        self, connection: Connection, file: IngestFile, *, ref: str, total: int, expected: str
    ) -> None:
        self.ref = ref
        self.digest = ""  # of what is written; known once a commit has begun
        self._connection, self._file = connection, file
        self._total, self._expected = total, expected

    @property
    def offset(self) -> int:
        """Bytes that are written; the next write goes there."""
        return self._file.offset

    async def write(self, data: bytes | memoryview) -> None:
        """As `ContentWriter.write`."""
        try:
            await self._file.write(data)
        except OSError as error:
            raise EngineError(f"{WRITE.about(self.ref)}: {error.strerror}") from error

    async def commit(
        self, labels: Mapping[str, str] | None = None, *, expected: str = "", total: int = 0
    ) -> str:
        """As `ContentWriter.commit`; also after the block, and in another task."""
        expected, total = expected or self._expected, total or self._total
        for attempts_left in reversed(range(_REOPENINGS)):
            try:
                return await self._commit(labels, expected=expected, total=total)
            except Unavailable:  # containerd has not yet let go of the call that began it
                if not attempts_left:
                    raise
                await trio.sleep(_REOPEN_AGAIN_S)
        raise AssertionError("the last attempt raises")

    async def _commit(self, labels: Mapping[str, str] | None, *, expected: str, total: int) -> str:
        async with self._connection.stream(RESUME, self.ref) as stream:
            writer = ContentWriter(stream, self.ref, 0)
            self.digest = await writer._open(total, expected)
            if writer.offset != self.offset:
                raise EngineError(
                    f"{WRITE.about(self.ref)}: {self.offset} bytes written, "
                    f"and containerd has {writer.offset}"
                )
            return await writer.commit(labels)


class Content:
    """Blobs, by digest ("sha256:..."). NotFound as the name says."""

    def __init__(
        self,
        connection: Connection,
        *,
        root: ContentRoot | None = None,
        files: IngestFiles | None = None,
    ) -> None:
        """`root` and `files`: where large blobs may be written past the API."""
        self._connection = connection
        self._root, self._files = root, files

    async def read(
        self, digest: str, offset: int = 0, size: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """The blob's bytes from `offset`, `size` of them or all, in pieces as they come.

        Close it (contextlib.aclosing) when not reading to the end.
        """
        request = ReadContentRequest(digest=digest, offset=offset, size=size)
        async with self._connection.stream(READ, digest) as stream:
            await stream.send(request, end=True)
            async for reply in stream:
                yield reply.data

    async def read_all(self, digest: str, limit_bytes: int) -> bytes:
        """The whole blob. InvalidParameter when it is larger than `limit_bytes`."""
        pieces = bytearray()
        request = ReadContentRequest(digest=digest)
        async with self._connection.stream(READ, digest) as stream:
            await stream.send(request, end=True)
            async for reply in stream:
                pieces += reply.data
                if len(pieces) > limit_bytes:
                    raise InvalidParameter(f"{digest} is larger than {limit_bytes} bytes")
        return bytes(pieces)

    async def info(self, digest: str) -> ContentInfo:
        """What is known of a blob."""
        reply = await self._connection.unary(INFO, InfoRequest(digest=digest), digest)
        return _to_info(reply.info or Info())

    async def update_labels(self, digest: str, labels: Mapping[str, str]) -> ContentInfo:
        """Set these labels and leave the others; an empty value takes one away."""
        request = UpdateRequest(
            info=Info(digest=digest, labels=dict(labels)),
            update_mask=FieldMask(paths=[f"labels.{label}" for label in labels]),
        )
        reply = await self._connection.unary(UPDATE, request, digest)
        return _to_info(reply.info or Info())

    async def delete(self, digest: str) -> None:
        """Take a blob out of the store, whatever refers to it."""
        await self._connection.unary(DELETE, DeleteContentRequest(digest=digest), digest)

    @asynccontextmanager
    async def writer(
        self, ref: str, total: int = 0, expected: str = ""
    ) -> AsyncIterator[ContentWriter | FileWriter]:
        """Write a blob under the name `ref`, from `writer.offset` on, where the last writer ended.

        What is not committed when the block is left stays for a later writer, or for `abort`.
        `total` (bytes) and `expected` (digest) may be left out. A large one is written into
        containerd's own file where that is possible.

        Raises:
            AlreadyExists: the store has `expected`; there is nothing to write.
            Unavailable: another writer holds `ref`.
        """
        async with AsyncExitStack() as stack:
            stream = await stack.enter_async_context(self._connection.stream(WRITE, ref))
            writer = ContentWriter(stream, ref, 0)
            await writer._open(total, expected)
            if total - writer.offset < MIN_BYTES:
                yield writer
                return
            root = None if self._root is None else await self._root.get()
            file = None
            if root is not None and self._files is not None:
                file = await self._files.open(root, ref, writer.offset)
            if file is None:
                yield writer
                return
            await stack.aclose()  # containerd keeps the ingest to itself while the call lasts
            stack.callback(file.close)
            yield FileWriter(self._connection, file, ref=ref, total=total, expected=expected)

    async def abort(self, ref: str) -> None:
        """Throw away what was written under `ref`."""
        await self._connection.unary(ABORT, AbortRequest(ref=ref), ref)

    async def statuses(self, *filters: str) -> list[IngestStatus]:
        """Blobs that are being written or were left unfinished."""
        request = ListStatusesRequest(filters=list(filters))
        reply = await self._connection.unary(STATUSES, request)
        return [_to_status(status) for status in reply.statuses]

    async def list(self, *filters: str) -> list[ContentInfo]:
        """Blobs that match any of the filters, all without one."""
        request = ListContentRequest(filters=list(filters))
        replies = await self._connection.collect(LIST, request)
        return [_to_info(info) for reply in replies for info in reply.info]


def _to_info(message: Info) -> ContentInfo:
    return ContentInfo(
        digest=message.digest,
        size_bytes=message.size,
        created_at_ns=to_ns(message.created_at),
        updated_at_ns=to_ns(message.updated_at),
        labels=dict(message.labels),
    )


def _to_status(message: Status) -> IngestStatus:
    return IngestStatus(
        ref=message.ref,
        offset_bytes=message.offset,
        total_bytes=message.total,
        expected=message.expected,
        started_at_ns=to_ns(message.started_at),
        updated_at_ns=to_ns(message.updated_at),
    )
