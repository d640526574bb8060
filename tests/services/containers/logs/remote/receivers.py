"""Log servers for tests: they speak the protocols strictly, and decode what they get."""

from __future__ import annotations

import array
import gzip
import json
import os
import re
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

# RFC 5424, 6: the grammar, field by field.
RFC5424: Final = re.compile(
    rb"<(?P<pri>\d|[1-9]\d|1[0-8]\d|19[01])>1 "
    rb"(?P<time>-|\d{4}-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
    rb"(?:\.\d{1,6})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)) "
    rb"(?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<pid>[!-~]{1,128}) (?P<msgid>[!-~]{1,32}) "
    rb"(?P<data>-|(?:\[[^\]]+\])+)(?: (?P<text>.*))?",
    re.DOTALL,
)
RFC3164: Final = re.compile(
    rb"<(?P<pri>\d{1,3})>(?P<time>[JFMASOND][a-z]{2} [ 123]\d \d\d:\d\d:\d\d) "
    rb"(?P<host>\S+) (?P<tag>[^\[ ]+)\[(?P<pid>\d+)\]: (?P<text>.*)",
    re.DOTALL,
)


def parse_5424(message: bytes) -> dict[str, bytes]:
    """One message of RFC 5424, without its framing."""
    match = RFC5424.fullmatch(message)
    assert match, message
    return match.groupdict()


def parse_3164(message: bytes) -> dict[str, bytes]:
    """One message of RFC 3164."""
    match = RFC3164.fullmatch(message)
    assert match, message
    return match.groupdict()


def split_octets(data: bytes) -> list[bytes]:
    """The whole messages of a stream that counts octets (RFC 5425)."""
    messages = []
    while match := re.match(rb"([1-9]\d*) ", data):
        size = int(match[1])
        if len(data) < match.end() + size:
            break
        messages.append(data[match.end() : match.end() + size])
        data = data[match.end() + size :]
    return messages


def parse_entry(data: bytes) -> dict[str, bytes]:
    """One entry of journald's native protocol."""
    fields: dict[str, bytes] = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest.startswith(b"\n")
            rest = rest[1:]
        assert re.fullmatch(rb"[A-Z0-9][A-Z0-9_]{0,63}", name), name
        fields[name.decode()] = value
        data = rest
    return fields


class GelfAssembler:
    """Puts chunks together and unpacks messages."""

    def __init__(self) -> None:
        self._chunks: dict[bytes, dict[int, bytes]] = {}

    def take(self, packet: bytes) -> dict[str, Any] | None:
        """A message, if this packet completes one."""
        assert len(packet) <= 1420
        if packet.startswith(b"\x1e\x0f"):
            key, number, count = packet[2:10], packet[10], packet[11]
            got = self._chunks.setdefault(key, {})
            got[number] = packet[12:]
            if len(got) < count:
                return None
            packet = b"".join(got[index] for index in range(count))
        if packet.startswith(b"\x1f\x8b"):
            packet = gzip.decompress(packet)
        elif packet.startswith(b"\x78"):
            packet = zlib.decompress(packet)
        return dict(json.loads(packet))


@dataclass
class Received:
    """What a server has got; `data` over all connections, `packets` one by one."""

    data: bytes = b""
    packets: list[bytes] = field(default_factory=list)
    connections: int = 0

    def lines(self) -> list[bytes]:
        """The whole lines of the stream."""
        return self.data.split(b"\n")[:-1]


class StreamServer:
    """A TCP, TLS or unix server that can be away, deaf, or cut its connections."""

    def __init__(
        self,
        *,
        path: Path | None = None,
        tls: ssl.SSLContext | None = None,
        answer: Callable[[bytes], tuple[bytes, bytes]] | None = None,
    ) -> None:
        """`answer` is given all that is unread: it says what to reply, and what is left unread."""
        self.got = Received()
        self._path, self._tls, self._answer = path, tls, answer
        self._listener: socket.socket | None = None
        self._place: socket.socket | None = None  # keeps the port while nobody listens there
        self._open: set[socket.socket] = set()
        self.port = 0
        self.reads = threading.Event()
        self.reads.set()

    def start(self) -> None:
        """Listen; on the same port as before."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(self._path))
        else:
            if self._place is None:
                self._place = _reusing_socket()
                self._place.bind(("127.0.0.1", 0))
                self.port = self._place.getsockname()[1]
            self._listener = _reusing_socket()
            # What one that does not read takes all the same.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Go away: connections break, new ones are refused."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self) -> None:
        """Go away for good."""
        self.reads.set()
        self.stop()
        if self._place is not None:
            self._place.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.got.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        unread = b""
        with suppress(OSError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            while True:
                self.reads.wait()
                data = connection.recv(65536)
                if not data:
                    return
                self.got.data += data
                if self._answer is not None:
                    reply, unread = self._answer(unread + data)
                    if reply:
                        connection.sendall(reply)


def _reusing_socket() -> socket.socket:
    """One of several with the same port, of which one at most may listen."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


@contextmanager
def stream_server(**options: Any) -> Iterator[StreamServer]:
    """A server that listens, until the end of the block."""
    server = StreamServer(**options)
    server.start()
    try:
        yield server
    finally:
        server.close()


# As root beyond the machine's bound: what does not go into the buffer is lost, and this process
# may send all of it before the thread that receives has a turn.
_SO_RCVBUF: Final = 33 if os.geteuid() == 0 else socket.SO_RCVBUF


class PacketServer:
    """Receives packets over UDP or a unix socket, memory files instead of long ones too."""

    def __init__(self, path: Path | None = None) -> None:
        self.got = Received()
        family = socket.AF_INET if path is None else socket.AF_UNIX
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        if path is None:
            self._socket.bind(("127.0.0.1", 0))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUF, 4 * 1024 * 1024)
            self.port = self._socket.getsockname()[1]
        else:
            self._socket.bind(str(path))
        threading.Thread(target=self._receive, daemon=True).start()

    def close(self) -> None:
        """Be gone."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _receive(self) -> None:
        with suppress(OSError):
            while True:
                packet, control, _, _ = self._socket.recvmsg(1 << 17, 256)
                for level, kind, data in control:
                    assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                    (fd,) = array.array("i", data)
                    with open(fd, "rb") as file:
                        file.seek(0)  # journald maps it
                        packet = file.read()
                if packet or control:
                    self.got.packets.append(packet)


def decode_forward(data: bytes) -> tuple[list[list[Any]], bytes]:
    """The messages of fluentd's protocol, and what is left of one that is not whole."""
    messages = []
    while data:
        size = _object_size(data, 0)
        if size is None:
            break
        messages.append(msgspec.msgpack.decode(data[:size]))
        data = data[size:]
    return messages, data


def acknowledge(data: bytes) -> tuple[bytes, bytes]:
    """As a server that is asked to acknowledge: for `StreamServer`."""
    messages, rest = decode_forward(data)
    replies = [msgspec.msgpack.encode({"ack": m[2]["chunk"]}) for m in messages if "chunk" in m[2]]
    return b"".join(replies), rest


def _object_size(data: bytes, at: int) -> int | None:
    """Where the MessagePack object at `at` ends; None if it is not whole."""
    heads: dict[int, tuple[int, str]] = {
        0xC4: (1, "bin"), 0xC5: (2, "bin"), 0xC6: (4, "bin"), 0xD9: (1, "bin"), 0xDA: (2, "bin"),
        0xDB: (4, "bin"), 0xDC: (2, "array"), 0xDD: (4, "array"), 0xDE: (2, "map"),
        0xDF: (4, "map"),
    }  # fmt: skip
    fixed = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8,
             0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9,
             0xD8: 17}  # fmt: skip
    if at >= len(data):
        return None
    head = data[at]
    at += 1
    items = 0
    if head in heads:
        width, kind = heads[head]
        if at + width > len(data):
            return None
        size = int.from_bytes(data[at : at + width], "big")
        at += width
        if kind == "bin":
            at += size
        else:
            items = size * (2 if kind == "map" else 1)
    elif head in fixed:
        at += fixed[head]
    elif 0xA0 <= head <= 0xBF:
        at += head & 0x1F
    elif 0x90 <= head <= 0x9F:
        items = head & 0x0F
    elif 0x80 <= head <= 0x8F:
        items = 2 * (head & 0x0F)
    for _ in range(items):
        end = _object_size(data, at)
        if end is None:
            return None
        at = end
    return at if at <= len(data) else None
