"""A websocket on a connection that left HTTP: what attach/ws speaks.

The handshake is answered here and the frames are wsproto's; messages carry the same bytes that a
hijacked connection would.

Source: RFC 6455; moby, daemon/server/router/container/container_routes.go (wsContainersAttach).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from services.api.http.hijack import HijackedStream
from services.errors import InvalidParameter

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")
_VERSION: Final = "13"
_RECEIVE_BYTES: Final = 64 * 1024


def accept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The fields that answer a client's handshake.

    Raises:
        InvalidParameter: it is none.
    """
    headers = {name.lower(): value for name, value in headers.items()}
    key = headers.get("sec-websocket-key", "")
    if headers.get("upgrade", "").lower() != "websocket" or not _KEY.fullmatch(key):
        raise InvalidParameter("not websocket protocol")
    if headers.get("sec-websocket-version", "") != _VERSION:
        raise InvalidParameter("missing or bad WebSocket Version")
    digest = hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()
    return {"Sec-WebSocket-Accept": base64.b64encode(digest).decode()}


class WebsocketStream:
    """The connection as a stream of bytes: each message's content, in and out.

    Messages of the client's may be text or binary; ours are text with `as_text`, binary without.
    One task may send while another one receives.
    """

    def __init__(self, raw: HijackedStream, *, as_text: bool) -> None:
        self._raw, self._as_text = raw, as_text
        self._connection = Connection(ConnectionType.SERVER)
        self._pending: Iterator[Event] = iter(())
        self._sending = trio.Lock()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some of the client's bytes.

        Raises:
            trio.BrokenResourceError: it has closed, which means both directions here; or it is
                gone, or does not speak the protocol.
        """
        del max_bytes  # a message's part is as long as what was read
        while True:
            while (event := self._next_event()) is not None:
                match event:
                    case CloseConnection() | Ping():
                        with suppress(trio.ClosedResourceError):  # ours was sent before
                            await self._send(event.response())
                        if isinstance(event, CloseConnection):
                            raise trio.BrokenResourceError
                    case TextMessage() if event.data:
                        return event.data.encode()
                    case BytesMessage() if event.data:
                        return bytes(event.data)
                    case _:
                        continue
            data = await self._raw.receive_some(_RECEIVE_BYTES)
            if not data:
                raise trio.BrokenResourceError
            self._connection.receive_data(data)
            self._pending = self._connection.events()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """One message with all of `data`."""
        if self._as_text:
            await self._send(TextMessage(bytes(data).decode(errors="replace")))
        else:
            await self._send(BytesMessage(bytes(data)))

    async def send_eof(self) -> None:
        """Say that nothing more comes."""
        await self._send(CloseConnection(CloseReason.NORMAL_CLOSURE))
        await self._raw.send_eof()

    async def aclose(self) -> None:
        """Close at once."""
        await self._raw.aclose()

    def _next_event(self) -> Event | None:
        """What has come and was not handed out; the rest waits in the parser."""
        try:
            return next(self._pending, None)
        except RemoteProtocolError as error:
            raise trio.BrokenResourceError from error

    async def _send(self, event: Event) -> None:
        """Frames in the order in which they were made."""
        async with self._sending:
            try:
                data = self._connection.send(event)
            except LocalProtocolError as error:  # the end was said already
                raise trio.ClosedResourceError from error
            await self._raw.send_all(data)
