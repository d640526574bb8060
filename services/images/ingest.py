"""An image archive on its way from a request body into containerd's content store.

Three parts run side by side, with bounded channels between them, so that memory stays the same for
an archive of any size: one takes the body as it arrives; a worker thread decompresses it and reads
the tar; one writes the files into the content store. No file touches our own disk: a file whose
name says its digest is checked against it, any other gets the digest that it turns out to have.
Small files are hashed in the thread. Large ones are hashed by containerd, which does so anyhow,
while the next file is on its way. What nothing refers to in the end goes with the lease that the
caller holds.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from services.containerd.errors import AlreadyExists
from services.errors import Conflict, InvalidParameter

from ._groups import single_error
from ._paths import clean_path, link_target
from .archive_files import ArchiveFiles, StoredFile
from .compression import MAGIC_BYTES, ExpansionLimits, PlainStream, detect
from .inbox import Inbox, open_inbox, take_body
from .oci import MAX_DOCUMENT_BYTES
from .ports import BlobWriter, Body, ContentClient
from .reference import Digest
from .tar import CHUNK_BYTES, Entry, EntryType, TarReader

_PIECES_AHEAD: Final = 4
_COMMITS_AT_ONCE: Final = 2
LARGE_BYTES: Final = 4 << 20
"""From here on a file is hashed by containerd, beside what follows it."""

_BLOB_PATH: Final = re.compile(r"blobs/(?P<algorithm>[a-z0-9]+)/(?P<hex>[a-f0-9]{64,128})")
_DOCUMENTS: Final = frozenset({"manifest.json", "index.json", "oci-layout"})
# Of each layer in docker's archive before 25; the same is in the configuration.
_NOT_WANTED: Final = frozenset({"VERSION", "json", "repositories"})


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestProgress:
    """How far a large file is. `path` names it inside the archive."""

    path: str
    done_bytes: int
    total_bytes: int

    @property
    def short_id(self) -> str:
        """What stands for the file on a client's screen: 12 characters of its name."""
        blob = _BLOB_PATH.fullmatch(self.path)
        name = self.path.partition("/")[0] if blob is None else blob["hex"]
        return name[:12].encode(errors="replace").decode()  # a tar's names may be any bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Some of a file's bytes; on the last one of a small file the digest of all of them."""

    path: str
    size_bytes: int  # of the whole file
    data: bytes
    is_last: bool
    digest: Digest | None
    claimed: Digest | None  # by the name


ProgressSink = Callable[[IngestProgress], Awaitable[None]]


async def ingest_archive(
    body: Body,
    *,
    content: ContentClient,
    ref_prefix: str,
    limiter: trio.CapacityLimiter,
    progress: ProgressSink,
    limits: ExpansionLimits | None = None,
) -> ArchiveFiles:
    """Bring every file of the archive in `body` into the content store; run it under a lease.

    Args:
        ref_prefix: begins the name of every ingest, so that what is left over can be found.
        limiter: of the worker threads; one is held until the body has been read to its end.

    Raises:
        InvalidParameter: no archive, damaged, hostile, or beyond a bound. What had been stored
            stays until the lease is deleted.
    """
    archive = ArchiveFiles()
    send_body, inbox = open_inbox()
    send_pieces, receive_pieces = trio.open_memory_channel[_Piece](_PIECES_AHEAD)
    scanner = _Scanner(archive, inbox, send_pieces, limits or ExpansionLimits())

    async def scan() -> None:
        async with send_pieces:
            await trio.to_thread.run_sync(scanner.scan, limiter=limiter)

    with single_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_body, body, send_body)
            nursery.start_soon(scan)
            sink = _ContentSink(archive, content, ref_prefix, progress)
            async with receive_pieces:
                await sink.store_all(receive_pieces)
    return archive


class _Scanner:
    """Reads the tar in a worker thread: documents and links into `archive`, files to `send`."""

    def __init__(
        self,
        archive: ArchiveFiles,
        inbox: Inbox,
        send: trio.MemorySendChannel[_Piece],
        limits: ExpansionLimits,
    ) -> None:
        self._archive, self._inbox, self._send, self._limits = archive, inbox, send, limits

    def scan(self) -> None:
        """Read to the end of the body, past the tar's end mark too: the client wants to finish."""
        plain = PlainStream(self._inbox.read, self._limits)
        tar = TarReader(plain.read)
        for entry in tar:
            self._take(entry, tar)
        while plain.read(CHUNK_BYTES):
            pass

    def _take(self, entry: Entry, tar: TarReader) -> None:
        path = clean_path(entry.name)
        if entry.type in (EntryType.SYMLINK, EntryType.HARD_LINK):
            symbolic = entry.type is EntryType.SYMLINK
            self._archive.links[path] = link_target(path, entry.target, is_symbolic=symbolic)
        elif entry.type is EntryType.FILE and path in _DOCUMENTS:
            self._keep_document(path, entry, tar)
        elif entry.type is EntryType.FILE and path.rpartition("/")[2] not in _NOT_WANTED:
            self._send_file(path, entry, tar)

    def _keep_document(self, path: str, entry: Entry, tar: TarReader) -> None:
        if entry.size_bytes > MAX_DOCUMENT_BYTES:
            raise InvalidParameter(
                f"invalid archive: {path} is larger than {MAX_DOCUMENT_BYTES} bytes"
            )
        self._archive.documents[path] = b"".join(tar.chunks())

    def _send_file(self, path: str, entry: Entry, tar: TarReader) -> None:
        claimed, done = _claimed_digest(path), 0
        hashed = hashlib.sha256() if entry.size_bytes < LARGE_BYTES else None
        chunks = tar.chunks() if entry.size_bytes else iter((b"",))
        gathered: list[bytes] = []
        for chunk in chunks:
            if hashed is not None:
                hashed.update(chunk)
            done += len(chunk)
            gathered.append(chunk)
            is_last = done == entry.size_bytes
            if not is_last and sum(map(len, gathered)) < CHUNK_BYTES:
                continue
            digest = Digest(f"sha256:{hashed.hexdigest()}") if is_last and hashed else None
            if digest and claimed and digest != claimed:
                raise _wrong_digest(path, digest)
            piece = _Piece(
                path=path, size_bytes=entry.size_bytes, data=b"".join(gathered),
                is_last=is_last, digest=digest, claimed=claimed,
            )  # fmt: skip
            gathered.clear()
            trio.from_thread.run(self._send.send, piece)


class _ContentSink:
    """Writes files into the content store, one after the other, as their pieces come."""

    def __init__(
        self, archive: ArchiveFiles, content: ContentClient, ref_prefix: str, progress: ProgressSink
    ) -> None:
        self._archive, self._content, self._progress = archive, content, progress
        self._ref_prefix = ref_prefix
        self._count = 0
        self._committing = trio.CapacityLimiter(_COMMITS_AT_ONCE)

    async def store_all(self, pieces: trio.MemoryReceiveChannel[_Piece]) -> None:
        async with trio.open_nursery() as nursery:
            async for first in pieces:
                self._count += 1
                commit = await self._write(first, pieces)
                if first.size_bytes < LARGE_BYTES:
                    await commit()
                else:
                    nursery.start_soon(commit)

    async def _write(
        self, first: _Piece, rest: trio.MemoryReceiveChannel[_Piece]
    ) -> Callable[[], Awaitable[None]]:
        """Write a file; what makes it a blob of the store is left to the caller."""
        ref = f"{self._ref_prefix}{self._count}"
        expected = first.claimed or first.digest or ""
        piece = first
        stack = AsyncExitStack()
        try:
            writer = await stack.enter_async_context(
                self._content.writer(ref, total=first.size_bytes, expected=expected)
            )
            done = 0
            while True:
                # What another namespace has of the blob, this one has from the start.
                if missing := piece.data[max(0, writer.offset - done) :]:
                    await writer.write(missing)
                done += len(piece.data)
                if piece.is_last:
                    break
                await self._report(piece, done)
                piece = await _next_piece(rest)
        except AlreadyExists:
            await stack.aclose()
            while not piece.is_last:
                piece = await _next_piece(rest)
            return partial(self._finish, first, piece, Digest(expected))
        except BaseException as error:
            await stack.__aexit__(type(error), error, error.__traceback__)
            raise
        return partial(self._commit, stack, writer, first, piece)

    async def _commit(
        self, stack: AsyncExitStack, writer: BlobWriter, first: _Piece, last: _Piece
    ) -> None:
        known = last.digest or first.claimed or ""
        async with stack, self._committing:
            try:
                digest = await writer.commit(expected=known)
            except AlreadyExists:  # somebody else was quicker
                digest = known or writer.digest
            except Conflict as error:
                if first.claimed is None:
                    raise
                raise _wrong_digest(first.path, writer.digest) from error
        await self._finish(first, last, Digest(digest))

    async def _finish(self, first: _Piece, last: _Piece, digest: Digest) -> None:
        self._archive.files[first.path] = StoredFile(
            digest=digest,
            size_bytes=first.size_bytes,
            compression=detect(first.data[:MAGIC_BYTES]),
        )
        await self._report(last, last.size_bytes)

    async def _report(self, piece: _Piece, done_bytes: int) -> None:
        if piece.size_bytes > CHUNK_BYTES:
            await self._progress(
                IngestProgress(path=piece.path, done_bytes=done_bytes, total_bytes=piece.size_bytes)
            )


def _wrong_digest(path: str, digest: str) -> InvalidParameter:
    return InvalidParameter(f"invalid archive: the content of {path} has the digest {digest}")


async def _next_piece(pieces: trio.MemoryReceiveChannel[_Piece]) -> _Piece:
    try:
        return await pieces.receive()
    except trio.EndOfChannel:  # the scanner failed inside a file: its error is about to cancel us
        await trio.sleep_forever()
        raise


def _claimed_digest(path: str) -> Digest | None:
    """The digest that a blob's name in an OCI layout promises; None where names promise nothing."""
    match = _BLOB_PATH.fullmatch(path)
    if match is None or match["algorithm"] != "sha256" or len(match["hex"]) != 64:
        return None
    return Digest(f"sha256:{match['hex']}")
