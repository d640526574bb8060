"""Where requests are written down: in front of all other gates, so that refusals are seen too.

A request that only reads costs a comparison. The record is in the file before the head of the
answer leaves; that of a client who left before there was one says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec

from services.api.access.audit import AuditLog, AuditRecord
from services.api.access.held_start import HeldStart
from services.api.access.operations import matches
from services.api.access.seen_connection import status_of, with_seen_connection
from services.api.http.asgi import ASGIApp, Message, Receive, Scope, Send
from services.api.http.peer import peer_of
from services.api.versions.version import split_version

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ATTACH: Final = "/attach/ws"  # the one GET by which a process can be written to
_SHOWN: Final = frozenset(
    {"name", "fromImage", "tag", "repo", "container", "signal", "t", "force", "v", "condition",
     "path", "noOverwriteDirNonDir", "pause", "target", "platform", "link"}
)  # fmt: skip
"""Parameters that say what was done. Others may hold secrets: build arguments, URLs, filters."""

_SHOWN_CHARS: Final = 256
_ANSWER_LIMIT_BYTES: Final = 64 * 1024


class AuditGate:
    """An ASGI app before another one, for the listener at `address`, which may open later."""

    def __init__(self, app: ASGIApp, log: AuditLog, address: Callable[[], str]) -> None:
        self._app = app
        self._log = log
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or (
            scope["method"] in _READING and not scope["path"].endswith(_ATTACH)
        ):
            await self._app(scope, receive, send)
            return
        audited = _Audited(self._log, _Beginning(scope, self._address()), send)
        try:
            await self._app(audited.scope(scope), receive, audited.send)
        finally:
            await audited.end()


class _Beginning:
    """What is known of a request when it comes."""

    def __init__(self, scope: Scope, address: str) -> None:
        self._scope = scope
        self._address = address
        self._time_ns = time.time_ns()
        self._began = time.monotonic()

    def record(self, status: int, answer: bytes) -> AuditRecord:
        """The line, now that the answer is known."""
        scope, peer = self._scope, peer_of(self._scope)
        path = split_version(scope["path"])[1]
        found = matches(scope["method"], path)
        reference = found[0].reference if found else ""
        told = _told(answer)
        credentials = peer.credentials if peer is not None else None
        parameters = _parameters(scope["query_string"])
        return AuditRecord(
            time=_rfc3339(self._time_ns),
            method=scope["method"],
            path=path,
            status=status,
            duration_s=round(time.monotonic() - self._began, 6),
            socket=self._address,
            operation=found[0].operation.id if found else "",
            object=reference or str(told.get("Id") or told.get("Name") or ""),
            parameters=parameters,
            uid=credentials.uid if credentials else None,
            gid=credentials.gid if credentials else None,
            pid=credentials.pid if credentials else None,
            common_name=peer.common_name if peer is not None else "",
            address=_shown_address(peer.address if peer is not None else None),
            # Only refusals: other errors may repeat what was sent.
            error=str(told.get("message") or "")[:_SHOWN_CHARS] if status == 403 else "",
        )


class _Audited:
    """Stands before a `send` and before taking the connection over."""

    def __init__(self, log: AuditLog, beginning: _Beginning, send: Send) -> None:
        self._log = log
        self._beginning = beginning
        self._is_written = False
        self.send: Final = HeldStart(send, self._look).send

    async def _look(self, start: Message, message: Message) -> tuple[Message, Message]:
        if not self._is_written:
            await self.write(start["status"], message.get("body", b""))
        return start, message

    async def write(self, status: int, answer: bytes = b"") -> None:
        """Once for each request."""
        self._is_written = True
        await self._log.write(self._beginning.record(status, answer))

    async def end(self) -> None:
        """The request is over, whether or not it was answered."""
        if not self._is_written:
            await self.write(0)

    def scope(self, scope: Scope) -> Scope:
        """The request's scope, in which taking the connection over is seen."""
        return with_seen_connection(scope, lambda head: self.write(status_of(head)))


def _told(answer: bytes) -> MappingProxyType[str, Any]:
    """The answer's JSON object, where it is a small one."""
    if answer.startswith(b"{") and len(answer) <= _ANSWER_LIMIT_BYTES:
        try:
            return MappingProxyType(msgspec.json.decode(answer))
        except msgspec.DecodeError:
            pass
    return MappingProxyType({})


def _parameters(raw: bytes) -> dict[str, str]:
    from services.api.wire.query import parse_query  # for requests that change something alone
    from services.errors import InvalidParameter

    try:
        query = parse_query(raw)
    except InvalidParameter:
        return {}
    return {name: query.text(name)[:_SHOWN_CHARS] for name in sorted(_SHOWN) if query.text(name)}


def _shown_address(address: tuple[str, int] | None) -> str:
    if address is None:
        return ""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _rfc3339(time_ns: int) -> str:
    seconds, rest_ns = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06d}Z"
