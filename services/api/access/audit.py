"""The audit log: one JSON line for each request that may have changed something.

It names who asked, for what, and what came of it. It never has a body, a header or the value of a
variable in it: what is secret there cannot leak from here. The file is bounded by rotation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
import trio
from loguru import logger

from services.api.access.audit_file import FLAGS, MODE

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_FILES: Final = 5
"""With the one that is being written."""

log = logger.bind(service="audit")


class AuditRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line. `object` is what the path or the query names, or what was made."""

    time: str  # RFC 3339, UTC, when the request came
    method: str
    path: str  # as it was routed, without the query
    status: int  # of the answer; 0: the client left before there was one
    duration_s: float  # up to the head of the answer
    socket: str  # which of the engine's
    operation: str = ""  # its id in the API's definition; absent: there is none such
    object: str = ""
    parameters: dict[str, str] = {}  # of the query, those that say what was done
    uid: int | None = None  # over a unix socket
    gid: int | None = None
    pid: int | None = None
    common_name: str = ""  # of a verified certificate
    address: str = ""  # over TCP
    error: str = ""  # why it was not allowed


class AuditLog:
    """Appends records to a file, one at a time, in a thread.

    A record that the disk refuses is counted and told of in the engine's log: what it tells of has
    been done by then, and to refuse everything from now on would be somebody's way to stop the
    engine.
    """

    def __init__(
        self, path: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._encoder = msgspec.json.Encoder()
        self._turn = trio.Lock()
        self._threads = trio.CapacityLimiter(1)
        self.lost = 0

    async def write(self, record: AuditRecord) -> None:
        """Returns once the record is in the file (which is not synced)."""
        line = self._encoder.encode(record) + b"\n"
        with trio.CancelScope(shield=True):  # a local append: the client's leaving is no reason
            async with self._turn:
                try:
                    await trio.to_thread.run_sync(self._append, line, limiter=self._threads)
                except OSError as error:
                    self.lost += 1
                    log.error("audit record not written", path=str(self._path), error=str(error),
                              lost=self.lost)  # fmt: skip

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, FLAGS, MODE)
        try:
            size = os.fstat(fd).st_size
            if size and size + len(line) > self._max_bytes:
                os.close(fd)
                fd = -1
                self._rotate()
                fd = os.open(self._path, FLAGS, MODE)
            os.write(fd, line)
        finally:
            if fd >= 0:
                os.close(fd)

    def _rotate(self) -> None:
        for age in range(self._max_files - 1, 0, -1):
            source = self._path if age == 1 else self._name(age - 1)
            if source.exists():
                source.replace(self._name(age))
        if self._max_files == 1:
            self._path.unlink(missing_ok=True)

    def _name(self, age: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{age}")
