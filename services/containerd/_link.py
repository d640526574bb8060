"""One HTTP/2 connection with gRPC calls on it, from its connect to its loss; it never reconnects.

Written for trio on the frames themselves: through asyncio and a library on top, a unary call took
three times as long, and calls are a good part of what a start or an exec costs.
"""

from __future__ import annotations

import socket
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import Final

import hpack
import trio

from ._grpc import (
    GRPCError,
    ProtocolError,
    Status,
    frame_message,
    status_error,
    take_message,
)
from ._http2 import (
    ACK,
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEADERS_LIMIT_BYTES,
    MAX_STREAM_ID,
    MAX_WINDOW_BYTES,
    PREFACE,
    SETTING_ENABLE_PUSH,
    SETTING_INITIAL_WINDOW_SIZE,
    SETTING_MAX_CONCURRENT_STREAMS,
    SETTING_MAX_FRAME_SIZE,
    Frame,
    FrameType,
    encode_frame,
    encode_headers,
    encode_reset,
    encode_settings,
    encode_window_update,
    take_frames,
)
from ._method import Method, ReplyT, RequestT

READ_BYTES: Final = 256 * 1024
OUT_LIMIT_BYTES: Final = 1024 * 1024
"""What may wait to be written before a sender of much data has to wait."""

# Receive windows. The connection's is given back as data comes, a stream's as it is read: a reader
# that stops holds up no other call.
STREAM_WINDOW_BYTES: Final = 4 * 1024 * 1024
CONNECTION_WINDOW_BYTES: Final = 64 * 1024 * 1024

Metadata = tuple[tuple[str, str], ...]


class Call:
    """One call: for one task at a time. What came is kept until it is received."""

    def __init__(self, link: Link, stream_id: int, window: int) -> None:
        self._link = link
        self.id = stream_id
        self.window = window  # how much we may send
        self.sent_all = False
        self.ended = False
        self.error: Exception | None = None  # once it has ended: why, None if all is well
        self._partial = bytearray()
        self._messages: deque[bytes] = deque()
        self._unread_bytes = 0  # to be given back to the sender
        self._changed = trio.lowlevel.ParkingLot()

    async def send(self, message: bytes, *, end: bool) -> None:
        """Send a message; blocks while the peer does not take it.

        Raises:
            GRPCError: the call has ended with this status meanwhile.
            OSError: the connection is lost.
        """
        await self._link.send_data(self, frame_message(message), end=end)

    async def receive(self) -> bytes | None:
        """The next message; None once the call has ended well. Raises as `send`."""
        while not self._messages and not self.ended:
            await self._changed.park()
        if self._messages:
            message = self._messages.popleft()
            if not self._messages:
                self._give_back()
            return message
        if self.error is not None:
            raise self.error
        return None

    def feed(self, data: bytes, frame_bytes: int) -> None:
        """Data has come. For the link."""
        self._partial += data
        self._unread_bytes += frame_bytes
        while (message := take_message(self._partial)) is not None:
            self._messages.append(message)
        if not self._messages:  # a long message has to come in before it can be read
            self._give_back()
        self.wake()

    def end(self, error: Exception | None) -> None:
        """The call is over; what came before can still be received. For the link."""
        if not self.ended:
            self.ended, self.error = True, error
            self.wake()

    def wake(self) -> None:
        """Something has changed for whoever waits."""
        self._changed.unpark_all()

    async def wait_changed(self) -> None:
        """Block until something has."""
        await self._changed.park()

    def close(self) -> None:
        """Call it off, unless it has ended on both sides."""
        self._link.drop(self)

    def _give_back(self) -> None:
        if self._unread_bytes >= STREAM_WINDOW_BYTES // 2 and not self.ended:
            self._link.give_back(self, self._unread_bytes)
            self._unread_bytes = 0


class Link:
    """A connection that is up, or was. `run` reads and writes it until it is lost."""

    def __init__(self, sock: socket.socket) -> None:
        self.lost = trio.Event()
        self._socket = sock
        self._in = bytearray()
        self._out = bytearray()
        self._out_pending = trio.lowlevel.ParkingLot()  # the writer
        self._out_room = trio.lowlevel.ParkingLot()  # who sends much
        self._window_changed = trio.lowlevel.ParkingLot()
        self._decoder = hpack.Decoder(max_header_list_size=HEADERS_LIMIT_BYTES)
        self._calls: dict[int, Call] = {}
        self._next_id = 1
        self._window = DEFAULT_WINDOW_BYTES
        self._initial_window = DEFAULT_WINDOW_BYTES
        self._frame_bytes = FRAME_BYTES
        self._max_calls = MAX_STREAM_ID
        self._received_bytes = 0
        self._block: bytearray | None = None  # of headers that come in several frames
        self._block_head: Frame | None = None
        settings = ((SETTING_ENABLE_PUSH, 0), (SETTING_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES))
        more_bytes = CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES
        self._put(PREFACE + encode_settings(settings) + encode_window_update(0, more_bytes))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry the calls. Returns once the connection is lost; cancelled, it is closed."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                task_status.started()
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self.close()

    async def unary(
        self, method: Method[RequestT, ReplyT], request: RequestT, metadata: Metadata
    ) -> ReplyT:
        """One request and its reply.

        Raises:
            GRPCError: another status than OK, or no reply.
            OSError: the connection is lost.
        """
        call = await self.open_call(method.route, metadata)
        try:
            await call.send(bytes(request), end=True)
            reply = await call.receive()
            if reply is None or await call.receive() is not None:
                raise GRPCError(Status.INTERNAL, "not one reply")
        finally:
            call.close()
        return method.reply.parse(reply)

    async def open_call(self, route: str, metadata: Metadata) -> Call:
        """Begin a call; its head leaves together with the first message. Raises OSError."""
        while len(self._calls) >= self._max_calls and not self.lost.is_set():
            await self._window_changed.park()
        self._check()
        call = Call(self, self._next_id, self._initial_window)
        self._next_id += 2
        self._calls[call.id] = call
        block = _head_of_call(route, metadata)
        self._put(encode_frame(FrameType.HEADERS, END_HEADERS, call.id, block))
        return call

    def close(self) -> None:
        """Give up the connection; calls on it end with an error."""
        if self.lost.is_set():
            return
        self.lost.set()
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        error = ConnectionResetError("the connection was lost")
        for call in tuple(self._calls.values()):
            call.end(error)
        self._calls.clear()
        self._window_changed.unpark_all()
        self._out_pending.unpark_all()
        self._out_room.unpark_all()

    # ── for the calls ────────────────────────────────────────────────────────────────────────

    async def send_data(self, call: Call, data: bytes, *, end: bool) -> None:
        """All of `data` in frames, as the peer makes room for them."""
        at = 0
        while at < len(data):
            self._check()
            if call.ended:
                raise call.error or GRPCError(Status.INTERNAL, "the call has ended early")
            size = min(len(data) - at, self._window, call.window, self._frame_bytes)
            if size <= 0 or len(self._out) >= OUT_LIMIT_BYTES:
                self._flush()
                await self._wait_room(call)
                continue
            is_last = end and at + size == len(data)
            flags = END_STREAM if is_last else 0
            self._put(encode_frame(FrameType.DATA, flags, call.id, data[at : at + size]))
            self._window -= size
            call.window -= size
            call.sent_all = is_last
            at += size
        self._flush()

    def give_back(self, call: Call, size: int) -> None:
        """Let the peer send so much more on this call."""
        if not self.lost.is_set():
            self._put(encode_window_update(call.id, size))
            self._flush()

    def drop(self, call: Call) -> None:
        """Forget a call; tell the peer unless it knows that it has ended."""
        known = self._calls.pop(call.id, None)
        self._window_changed.unpark_all()
        if known is not None and not self.lost.is_set():
            self._put(encode_reset(call.id))
            self._flush()
        call.end(ConnectionAbortedError("the call was closed"))

    async def _wait_room(self, call: Call) -> None:
        if len(self._out) >= OUT_LIMIT_BYTES:
            await self._out_room.park()
        elif self._window <= 0:
            await self._window_changed.park()
        else:
            await call.wait_changed()

    def _check(self) -> None:
        if self.lost.is_set() or self._next_id > MAX_STREAM_ID:
            self.close()
            raise ConnectionResetError("the connection was lost")

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def _put(self, data: bytes) -> None:
        """Have `data`, whole frames, written at the next flush: nothing can cut a frame."""
        self._out += data

    def _flush(self) -> None:
        """Write what the socket takes now; the writer does the rest."""
        if not self._out or self.lost.is_set():
            return
        try:
            sent = self._socket.send(self._out)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.close()
            return
        del self._out[:sent]
        if self._out:
            self._out_pending.unpark_all()
        if len(self._out) < OUT_LIMIT_BYTES:
            self._out_room.unpark_all()

    async def _write(self) -> None:
        while not self.lost.is_set():
            if not self._out:
                await self._out_pending.park()
                continue
            try:
                await trio.lowlevel.wait_writable(self._socket)
            except (OSError, trio.ClosedResourceError):
                self.close()
                return
            self._flush()

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    async def _read(self) -> None:
        self._flush()
        while not self.lost.is_set():
            try:
                await trio.lowlevel.wait_readable(self._socket)
                data = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                continue
            except (OSError, trio.ClosedResourceError):
                return
            if not data:
                return
            self._in += data
            try:
                for frame in take_frames(self._in):
                    self._take(frame)
            except (ProtocolError, hpack.HPACKError):
                return
            self._flush()

    def _take(self, frame: Frame) -> None:
        if self._block is not None and frame.kind != FrameType.CONTINUATION:
            raise ProtocolError("headers that do not end")
        match frame.kind:
            case FrameType.DATA:
                self._take_data(frame)
            case FrameType.HEADERS:
                self._block, self._block_head = bytearray(frame.content()), frame
                self._end_block(frame)
            case FrameType.CONTINUATION:
                if self._block is None or len(self._block) > HEADERS_LIMIT_BYTES:
                    raise ProtocolError("unexpected headers")
                self._block += frame.payload
                self._end_block(frame)
            case FrameType.SETTINGS if not frame.flags & ACK:
                self._take_settings(frame)
            case FrameType.PING if not frame.flags & ACK:
                self._put(encode_frame(FrameType.PING, ACK, 0, frame.payload))
            case FrameType.WINDOW_UPDATE:
                self._take_room(frame)
            case FrameType.RST_STREAM:
                self._end_call(frame.stream_id, ConnectionResetError("the call was reset"))
            case FrameType.GOAWAY:
                raise ProtocolError("the peer goes away")
            case FrameType.PUSH_PROMISE:
                raise ProtocolError("a push that we did not allow")

    def _take_data(self, frame: Frame) -> None:
        if not frame.stream_id:
            raise ProtocolError("data of no stream")
        size = len(frame.payload)
        self._received_bytes += size
        if self._received_bytes >= CONNECTION_WINDOW_BYTES // 2:
            self._put(encode_window_update(0, self._received_bytes))
            self._received_bytes = 0
        call = self._calls.get(frame.stream_id)
        if call is not None:
            call.feed(frame.content(), size)
            if frame.flags & END_STREAM:
                error = GRPCError(Status.UNKNOWN, "no gRPC status")
                self._end_call(frame.stream_id, error)

    def _end_block(self, frame: Frame) -> None:
        if not frame.flags & END_HEADERS:
            return
        head, block = self._block_head, self._block
        self._block_head = self._block = None
        assert head is not None
        assert block is not None
        # Decoded also for a call that is no more: the table of names is the connection's.
        headers = {str(name): str(value) for name, value in self._decoder.decode(bytes(block))}
        if head.flags & END_STREAM:
            self._end_call(head.stream_id, status_error(headers))

    def _end_call(self, stream_id: int, error: Exception | None) -> None:
        call = self._calls.get(stream_id)
        if call is None:
            return
        call.end(error)
        if call.sent_all:
            del self._calls[stream_id]
            self._window_changed.unpark_all()

    def _take_settings(self, frame: Frame) -> None:
        for number, value in frame.settings():
            if number == SETTING_INITIAL_WINDOW_SIZE:
                more, self._initial_window = value - self._initial_window, value
                for call in self._calls.values():
                    call.window += more
                    call.wake()
            elif number == SETTING_MAX_FRAME_SIZE:
                self._frame_bytes = max(FRAME_BYTES, value)
            elif number == SETTING_MAX_CONCURRENT_STREAMS:
                self._max_calls = max(1, value)
        self._put(encode_frame(FrameType.SETTINGS, ACK, 0))
        self._window_changed.unpark_all()

    def _take_room(self, frame: Frame) -> None:
        if not frame.stream_id:
            self._window = min(self._window + frame.number(), MAX_WINDOW_BYTES)
            self._window_changed.unpark_all()
        elif (call := self._calls.get(frame.stream_id)) is not None:
            call.window += frame.number()
            call.wake()


@lru_cache(maxsize=256)  # pure; a lease's id makes a head of its own
def _head_of_call(route: str, metadata: Metadata) -> bytes:
    return encode_headers(
        (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", route),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "wharfinger"),
            *metadata,
        )
    )


async def connect(address: Path) -> Link:
    """A link to the socket at `address`; its `run` is the caller's to start. Raises OSError."""
    stream = await trio.open_unix_socket(str(address))
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    return Link(sock)
