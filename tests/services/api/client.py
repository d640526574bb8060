"""A client for route tests: one request a connection, answers decoded or read as they come."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h11
import trio
from quart import Blueprint

from tests.services.api.support import ENGINE, Served, build_app, serving

LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The text of an error."""
        return str(self.json()["message"])


class Stream:
    """An answer that is still coming."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._connection = h11.Connection(h11.CLIENT)
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """The whole request, then the head of the answer."""
        length = {"Content-Length": str(len(body))} if body or method == "POST" else {}
        request = h11.Request(
            method=method, target=path, headers=list({"Host": "d", **length, **headers}.items())
        )
        parts = (request, h11.Data(data=body), h11.EndOfMessage())
        for part in parts:
            await self._stream.send_all(self._connection.send(part) or b"")
        head = await self._next()
        assert isinstance(head, h11.Response)
        self.status = head.status_code
        self.headers = {name.decode(): value.decode() for name, value in head.headers}

    async def part(self) -> bytes | None:
        """What comes next of the body; None at its end."""
        event = await self._next()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def rest(self) -> bytes:
        """All that is still to come."""
        parts = []
        while (part := await self.part()) is not None:
            parts.append(part)
        return b"".join(parts)

    async def _next(self) -> object:
        while True:
            event = self._connection.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._connection.receive_data(await self._stream.receive_some(65536))


class Api:
    """Routes, served on a socket of their own."""

    def __init__(self, served: Served) -> None:
        self._served = served

    async def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """One request and its whole answer."""
        with trio.fail_after(LIMIT_S):
            async with self.stream(method, path, body, **headers) as stream:
                return Answer(stream.status, stream.headers, await stream.rest())

    async def connect(self) -> trio.SocketStream:
        """A connection to speak bytes on."""
        return await trio.open_unix_socket(str(self._served.path))

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> AsyncIterator[Stream]:
        """One request whose answer is read inside the block; leaving it hangs up."""
        async with await trio.open_unix_socket(str(self._served.path)) as socket:
            stream = Stream(socket)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            await stream.send(method, path, body, named)
            yield stream


@asynccontextmanager
async def api_of(tmp_path: Path, *blueprints: Blueprint) -> AsyncIterator[Api]:
    """An API with these routes, served inside the block."""
    async with serving(build_app(blueprints, identity=ENGINE), tmp_path) as served:
        yield Api(served)
