"""The journald driver: systemd's native protocol on its datagram socket.

A message that is too long for a packet travels in a sealed memory file, whose descriptor is sent
instead. The fields are dockerd's.

Source: systemd, docs/JOURNAL_NATIVE_PROTOCOL; moby, daemon/logger/journald.
"""

from __future__ import annotations

import fcntl
import math
import os
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from services.containers.logs.attributes import selected_attributes
from services.containers.logs.encode import rfc3339_nano
from services.containers.logs.info import LogInfo
from services.containers.logs.remote.driver import Progress, Session
from services.containers.logs.remote.endpoints import Endpoint
from services.containers.logs.remote.lines import Line
from services.containers.logs.remote.links import (
    SEND_BUDGET_S,
    PacketLink,
    delivery,
    is_too_long,
)
from services.containers.logs.tag import DEFAULT_TAG, render_tag
from services.containers.stdio.streams import Stream

UNKNOWN_KEY: Final = "unknown log opt '{}' for journald log driver"
JOURNAL_SOCKET: Final = Path("/run/systemd/journal/socket")
_PRIORITY: Final = MappingProxyType({Stream.STDOUT: b"6", Stream.STDERR: b"3"})
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_NAME_CHARS: Final = 64  # journald's own bound on a field's name


def field_name(text: str) -> str:
    """A name as journald takes it: A-Z, 0-9 and _, which does not come first."""
    upper = "".join(char.upper() if "a" <= char <= "z" else char for char in text)
    cleaned = "".join(char if "A" <= char <= "Z" or "0" <= char <= "9" else "_" for char in upper)
    return cleaned.lstrip("_")[:_NAME_CHARS]


def encode_field(name: bytes, value: bytes) -> bytes:
    """One field; a value with a newline in it is preceded by its length."""
    if b"\n" not in value:
        return b"%b=%b\n" % (name, value)
    return b"%b\n%b%b\n" % (name, len(value).to_bytes(8, "little"), value)


class JournalFormat:
    """Spells entries. Pure."""

    def __init__(self, info: LogInfo) -> None:
        tag = render_tag(info.config.get("tag") or DEFAULT_TAG, info)
        fields = {
            "CONTAINER_ID": info.container_id[:12],
            "CONTAINER_ID_FULL": info.container_id,
            "CONTAINER_NAME": info.name.removeprefix("/"),
            "CONTAINER_TAG": tag,
            "IMAGE_NAME": info.image_name,
            "SYSLOG_IDENTIFIER": tag,
        }
        extra = {field_name(key): value for key, value in selected_attributes(info).items()}
        fields |= {name: value for name, value in extra.items() if name}
        self._fields = b"".join(
            encode_field(name.encode(), value.encode(errors="replace"))
            for name, value in fields.items()
        )

    def entry(self, line: Line) -> bytes:
        """One entry of the journal."""
        parts = [
            encode_field(b"MESSAGE", line.text),
            encode_field(b"PRIORITY", _PRIORITY[line.stream]),
            self._fields,
            encode_field(b"SYSLOG_TIMESTAMP", rfc3339_nano(line.time_ns).encode()),
        ]
        if line.partial is not None:
            piece = line.partial
            parts += [
                encode_field(b"CONTAINER_PARTIAL_ID", piece.id.encode()),
                encode_field(b"CONTAINER_PARTIAL_ORDINAL", str(piece.ordinal).encode()),
                encode_field(b"CONTAINER_PARTIAL_LAST", b"true" if piece.last else b"false"),
            ]
            if not piece.last:
                parts.append(encode_field(b"CONTAINER_PARTIAL_MESSAGE", b"true"))
        return b"".join(parts)


class JournaldDriver:
    """A `Driver`."""

    session_s = math.inf
    retry_s = 0.5

    def __init__(self, info: LogInfo, socket_path: Path = JOURNAL_SOCKET) -> None:
        self._format = JournalFormat(info)
        self._endpoint = Endpoint(scheme="unixgram", path=str(socket_path))

    @property
    def address(self) -> str:
        """See `Driver`."""
        return self._endpoint.path

    async def connect(self) -> Session:
        """See `Driver`."""
        return _Session(await PacketLink.open(self._endpoint), self._format)


class _Session:
    def __init__(self, link: PacketLink, format: JournalFormat) -> None:
        self._link, self._format = link, format

    async def send(self, lines: Sequence[Line], progress: Progress) -> None:
        for line in lines:
            entry = self._format.entry(line)
            with delivery("sending to journald", SEND_BUDGET_S):
                await self._send_one(entry)
            progress(1)

    async def _send_one(self, entry: bytes) -> None:
        try:
            await self._link.send(entry)
        except OSError as error:
            if not is_too_long(error):
                raise
            fd = _sealed(entry)
            try:
                await self._link.send_descriptor(fd)
            finally:
                os.close(fd)

    async def flush(self, progress: Progress) -> None:
        """Packets that have left are out of our hands."""

    async def aclose(self) -> None:
        await self._link.aclose()


def _sealed(data: bytes) -> int:
    """A memory file that nobody can change any more, which is what lets journald trust it."""
    fd = os.memfd_create("container-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd
