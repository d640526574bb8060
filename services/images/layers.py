"""Layers made out of tars: hashed and compressed in a worker thread, stored as they come.

The digest of a layer in the store and that of its plain tar (the diff ID) come out of one pass, in
memory that does not depend on the size.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from services.containerd.errors import AlreadyExists
from services.containerd.values import LeaseResource

from ._groups import single_error
from .compression import Compression, ExpansionLimits, PlainStream
from .inbox import Inbox
from .oci import OciDescriptor
from .ports import ContainerdClient

LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"

_LEVEL: Final = 3  # half the time of zlib's usual 6, for a tenth more
_GZIP_WINDOW: Final = 31  # the largest, with gzip's head, which holds no time then
_PIECE_BYTES: Final = 1 << 20
_PIECES_AHEAD: Final = 4

Send = Callable[[bytes], object]
WriteTar = Callable[[Send], None]
"""Writes a plain tar, piece by piece; called in a worker thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer in the content store."""

    descriptor: OciDescriptor
    diff_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    digest: str
    diff_id: str
    media_type: str
    size_bytes: int


LayerSource = Callable[[Send], _Made]
"""Sends the bytes to store; called in a worker thread."""


def compressed(write: WriteTar) -> LayerSource:
    """The tar that `write` writes, as a layer."""
    return partial(_compress, write)


def uploaded(inbox: Inbox, limits: ExpansionLimits) -> LayerSource:
    """A tar that a client sends: as it is if it is gzip or zstd, else compressed anew.

    Nothing at all is a layer too, one without files.

    Source: moby, daemon/containerd/image_import.go.
    """
    return partial(_take_upload, inbox, limits)


async def store_layer(
    source: LayerSource,
    *,
    containerd: ContainerdClient,
    lease_id: str,
    limiter: trio.CapacityLimiter,
) -> Layer:
    """Store what `source` sends, under a lease that the caller holds.

    Raises:
        InvalidParameter: what a client sent is damaged.
    """
    send, receive = trio.open_memory_channel[bytes](_PIECES_AHEAD)
    made: list[_Made] = []

    def run() -> None:
        made.append(source(lambda data: trio.from_thread.run(send.send, data)))

    async def work() -> None:
        async with send:
            await trio.to_thread.run_sync(run, limiter=limiter)

    with single_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            try:
                async with containerd.content.writer(f"{lease_id}-layer") as writer, receive:
                    async for data in receive:
                        await writer.write(data)
                    if made:  # else the thread's error is about to cancel us
                        await writer.commit(expected=made[0].digest)
            except AlreadyExists:
                await containerd.leases.add_resource(
                    lease_id, LeaseResource(id=made[0].digest, type="content")
                )
    (layer,) = made
    descriptor = OciDescriptor(
        media_type=layer.media_type, digest=layer.digest, size=layer.size_bytes
    )
    return Layer(descriptor=descriptor, diff_id=layer.diff_id)


class _Gathered:
    """Hashes what is to be stored and sends it in pieces worth sending."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held = bytearray()
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def put(self, data: bytes) -> None:
        self._hash.update(data)
        self.size_bytes += len(data)
        self._held += data
        if len(self._held) >= _PIECE_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._held:
            data, self._held = bytes(self._held), bytearray()
            self._send(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def _compress(write: WriteTar, send: Send) -> _Made:
    out, plain = _Gathered(send), hashlib.sha256()
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def put(data: bytes) -> None:
        plain.update(data)
        out.put(packer.compress(data))

    write(put)
    out.put(packer.flush())
    out.flush()
    return _Made(
        digest=out.digest,
        diff_id=f"sha256:{plain.hexdigest()}",
        media_type=LAYER_GZIP,
        size_bytes=out.size_bytes,
    )


def _take_upload(inbox: Inbox, limits: ExpansionLimits, send: Send) -> _Made:
    out, plain = _Gathered(send), hashlib.sha256()
    keeps = False
    ahead: list[bytes] = []

    def read(size: int) -> bytes:
        data = inbox.read(size)
        if keeps:
            out.put(data)
        else:
            ahead.append(data)
        return data

    stream = PlainStream(read, limits)
    if stream.compression in (Compression.GZIP, Compression.ZSTD):
        keeps = True
        for data in ahead:
            out.put(data)
        while data := stream.read(_PIECE_BYTES):
            plain.update(data)
        while read(_PIECE_BYTES):  # what follows the compressed stream's end
            pass
        out.flush()
        is_gzip = stream.compression is Compression.GZIP
        return _Made(
            digest=out.digest,
            diff_id=f"sha256:{plain.hexdigest()}",
            media_type=LAYER_GZIP if is_gzip else LAYER_ZSTD,
            size_bytes=out.size_bytes,
        )
    ahead.clear()

    def write(put: Send) -> None:
        while data := stream.read(_PIECE_BYTES):
            ahead.clear()
            put(data)

    return _compress(write, send)
