"""A client attached to a container or an exec: bytes both ways until one of them ends it."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

import trio

from services.containers.stdio.detach import DetachKeys
from services.containers.stdio.hub import AttachedStreams
from services.containers.stdio.streams import Stream, frame_header

_CHUNK_BYTES: Final = 256 * 1024
_JOIN_BELOW_BYTES: Final = 32 * 1024  # a copy is cheaper than another call to send
_FAREWELL_S: Final = 2.0
_SETTLE_S: Final = 5.0


class ByteStream(Protocol):
    """The client's side: a hijacked connection. Errors are trio's for streams."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Some bytes; b"" after the client's end of input."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it."""

    async def send_eof(self) -> None:
        """No more will be sent."""

    async def aclose(self) -> None:
        """Close."""


class AttachEnd(enum.Enum):
    """Why a session ended."""

    DETACHED = "detached"  # the client typed the detach keys
    CLIENT_GONE = "client gone"
    PROCESS_ENDED = "process ended"  # and all its output was sent


async def serve_attach(
    streams: AttachedStreams,
    peer: ByteStream,
    *,
    multiplexed: bool,
    detach_keys: bytes,
    stdin: bool,
    framed: bool = True,
    replay: AsyncIterator[bytes] | None = None,
    settled: Callable[[], Awaitable[object]] | None = None,
) -> AttachEnd:
    """Carry a session to its end, then send the end of output. Closing `peer` is the caller's.

    `multiplexed`: output in frames, unless `framed` is off; without (a tty), raw, and only then
    `detach_keys` are looked for. `replay`: the log up to the moment of attaching, encoded as the
    output is; sent first.
    The client's end of input closes the process's stdin where StdinOnce says so and there is no
    tty, and otherwise ends the session, as in dockerd; a client that leaves counts as such.

    `settled` is awaited before the end of output is sent when the process has ended (for a few
    seconds at most): a client that has read the end asks for the exit code at once.

    Source: moby, container/stream/attach.go, CopyStreams.
    """
    session = _Session(streams, peer, multiplexed=multiplexed, framed=framed, stdin=stdin)
    async with trio.open_nursery() as nursery:
        session.scope = nursery.cancel_scope
        nursery.start_soon(session.copy_out, replay)
        nursery.start_soon(session.copy_in, DetachKeys(b"" if multiplexed else detach_keys))
    if session.end is AttachEnd.PROCESS_ENDED and settled is not None:
        with trio.move_on_after(_SETTLE_S):
            await settled()
    if session.end is not AttachEnd.CLIENT_GONE:
        with trio.move_on_after(_FAREWELL_S):
            try:
                await peer.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return session.end
    return session.end


class _Session:
    """The two directions of one session; the first to end it says why."""

    def __init__(
        self,
        streams: AttachedStreams,
        peer: ByteStream,
        *,
        multiplexed: bool,
        framed: bool,
        stdin: bool,
    ) -> None:
        self._streams = streams
        self._peer = peer
        self._multiplexed = multiplexed
        self._framed = multiplexed and framed
        self._stdin = stdin
        self.scope = trio.CancelScope()
        self.end = AttachEnd.CLIENT_GONE

    async def copy_out(self, replay: AsyncIterator[bytes] | None) -> None:
        """Send output until there is none, or no one to send it to."""
        try:
            if replay is not None:
                async for block in replay:
                    await self._peer.send_all(block)
            while True:
                await self._send(await self._streams.receive_some())
        except trio.EndOfChannel:
            self._finish(AttachEnd.PROCESS_ENDED)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._finish(AttachEnd.CLIENT_GONE)

    async def copy_in(self, keys: DetachKeys) -> None:
        """Carry the client's input to the process; without stdin, only see it leave."""
        try:
            while data := await self._peer.receive_some(_CHUNK_BYTES):
                if not self._stdin:
                    continue
                typed, found = keys.feed(bytes(data))
                await self._type(typed)
                if found:
                    self._finish(AttachEnd.DETACHED)
                    return
            await self._type(keys.rest())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._finish(AttachEnd.CLIENT_GONE)
        finally:
            if self._multiplexed:
                self._streams.close_stdin()
        if self._stdin and not (self._multiplexed and self._streams.closes_stdin):
            self._finish(AttachEnd.CLIENT_GONE)

    async def _type(self, data: bytes) -> None:
        if not data or not self._stdin:
            return
        try:
            await self._streams.send_stdin(data)
        except trio.BrokenResourceError:  # the process closed its stdin; it may go on writing
            self._stdin = False

    async def _send(self, blocks: list[tuple[Stream, bytes]]) -> None:
        small: list[bytes] = []
        for stream, block in blocks:
            if self._framed:
                small.append(frame_header(stream, len(block)))
            if len(block) < _JOIN_BELOW_BYTES:
                small.append(block)
                continue
            if small:
                await self._peer.send_all(b"".join(small))
                small = []
            await self._peer.send_all(block)
        if small:
            await self._peer.send_all(b"".join(small))

    def _finish(self, end: AttachEnd) -> None:
        if not self.scope.cancel_called:
            self.end = end
            self.scope.cancel()
