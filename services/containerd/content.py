"""containerd's content store: blobs by their digest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import trio
from grpclib.const import Cardinality
from loguru import logger

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
)
from protos.generated.wire import Empty, FieldMask
from services.errors import EngineError, InvalidParameter, Unavailable

from ._method import RPC_LIMIT_S, Method
from ._wire import to_ns
from .connection import Connection
from .content_root import ContentRoot
from .content_writer import ABORT, SERVICE, WRITE, ContentWriter
from .file_writer import FileWriter
from .ingest_files import MIN_BYTES, IngestFiles
from .ingest_leftovers import remove_nameless
from .values import ContentInfo, IngestStatus

INFO: Final = Method(service=SERVICE, name="Info", request=InfoRequest, reply=InfoResponse)
UPDATE: Final = Method(service=SERVICE, name="Update", request=UpdateRequest, reply=UpdateResponse)
LIST: Final = Method(
    service=SERVICE,
    name="List",
    request=ListContentRequest,
    reply=ListContentResponse,
    cardinality=Cardinality.UNARY_STREAM,
)
DELETE: Final = Method(service=SERVICE, name="Delete", request=DeleteContentRequest, reply=Empty)
READ: Final = Method(
    service=SERVICE,
    name="Read",
    request=ReadContentRequest,
    reply=ReadContentResponse,
    cardinality=Cardinality.UNARY_STREAM,
    limit_s=RPC_LIMIT_S,
)
STATUSES: Final = Method(
    service=SERVICE, name="ListStatuses", request=ListStatusesRequest, reply=ListStatusesResponse
)

LOCKED_LIMIT_S: Final = 0.3  # for containerd to see the end of a call, not of another writer
LOCKED_AGAIN_S: Final = 0.01

_log = logger.bind(service="containerd")


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
            writer = await self._open(stack, ref, total, expected)
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

    async def _open(
        self, stack: AsyncExitStack, ref: str, total: int, expected: str
    ) -> ContentWriter:
        """containerd 2 sees late that the call of a writer before has ended: it is waited for."""
        deadline = trio.current_time() + LOCKED_LIMIT_S
        while True:
            try:
                async with AsyncExitStack() as attempt:
                    stream = await attempt.enter_async_context(self._connection.stream(WRITE, ref))
                    writer = ContentWriter(stream, ref, 0)
                    await writer.open(total, expected)
                    stack.push_async_exit(attempt.pop_all())
                    return writer
            except Unavailable as error:
                if "locked" not in str(error) or trio.current_time() > deadline:
                    raise
            await trio.sleep(LOCKED_AGAIN_S)

    async def abort(self, ref: str) -> None:
        """Throw away what was written under `ref`."""
        await self._connection.unary(ABORT, AbortRequest(ref=ref), ref)

    async def statuses(self, *filters: str) -> list[IngestStatus]:
        """Blobs that are being written or were left unfinished."""
        request = ListStatusesRequest(filters=list(filters))
        reply = await self._connection.unary(STATUSES, request)
        return [_to_status(status) for status in reply.statuses]

    async def clear_nameless(self) -> None:
        """Take away the folders of ingests that containerd no longer sees itself, where we can."""
        root = None if self._root is None else await self._root.get()
        if root is None:
            return
        try:
            removed = await trio.to_thread.run_sync(remove_nameless, root)
        except OSError as error:
            raise EngineError(f"the content store's ingests at {root}: {error}") from error
        if removed:
            _log.info("ingests without a name removed", folders=removed)

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
