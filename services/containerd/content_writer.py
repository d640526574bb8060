"""A blob on its way into containerd's content store, over its API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from grpclib.const import Cardinality

from protos.generated.containerd.services.content.v1 import (
    AbortRequest,
    WriteAction,
    WriteContentRequest,
    WriteContentResponse,
)
from protos.generated.wire import Empty
from services.errors import EngineError
from services.grpc.stream import Stream

from ._method import BULK_RPC_LIMIT_S, SLOW_RPC_LIMIT_S, Method

# Far below gRPC's 16 MB a message, and large enough that the answer to each costs little.
CHUNK_BYTES: Final = 1024 * 1024

SERVICE: Final = "containerd.services.content.v1.Content"
# A commit hashes what an earlier writer left, and syncs.
WRITE: Final = Method(
    service=SERVICE,
    name="Write",
    request=WriteContentRequest,
    reply=WriteContentResponse,
    cardinality=Cardinality.STREAM_STREAM,
    limit_s=SLOW_RPC_LIMIT_S,
)
# Opened again, containerd hashes all that is there before it answers.
RESUME: Final = replace(WRITE, limit_s=BULK_RPC_LIMIT_S)
ABORT: Final = Method(service=SERVICE, name="Abort", request=AbortRequest, reply=Empty)


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

    async def open(self, total: int, expected: str) -> str:
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
