"""containerd's own log, line by line into ours.

It goes through a file, not a pipe: containerd outlives us, and a Go program that writes to a broken
pipe on its stderr is killed by SIGPIPE.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import trio
from loguru import logger

from services import typed_json

POLL_S: Final = 0.5  # a look at an open file costs microseconds; a watch would wake us per line
READ_BYTES: Final = 256 * 1024
LINE_MAX_BYTES: Final = 64 * 1024  # a longer line is cut in pieces
FILE_MAX_BYTES: Final = 1024 * 1024  # the file is on tmpfs: emptied beyond this, once read

LEVELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "trace": "TRACE",
        "debug": "DEBUG",
        "info": "INFO",
        "warning": "WARNING",
        "error": "ERROR",
        "fatal": "CRITICAL",
        "panic": "CRITICAL",
    }
)

_TEXT_LEVEL: Final = re.compile(r"^time=\S+ level=(\w+) ")

_EACH_END: Final = "cleaning up after shim disconnected"
_EACH_CLEANUP: Final = "cleanup warnings"
_NOTHING_LEFT: Final = 'level=warning msg="failed to remove runc container"'
"""containerd 1.6 warns of these at the end of every task."""

log = logger.bind(service="containerd.process")


class LogFollower:
    """Reads what is appended to `path` from now on. Whoever writes to it must use O_APPEND."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._offset = os.fstat(self._fd).st_size
        self._rest = b""

    async def run(self) -> None:
        """Follow the file until cancelled."""
        while True:
            self.drain()
            await trio.sleep(POLL_S)

    def drain(self) -> None:
        """Log what has come since the last time."""
        while data := os.pread(self._fd, READ_BYTES, self._offset):
            self._offset += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                write_line(line)
            if len(self._rest) > LINE_MAX_BYTES:
                write_line(self._rest)
                self._rest = b""
        if self._offset > FILE_MAX_BYTES:
            # A line written since the last read is lost: rather that than a file without bound.
            os.ftruncate(self._fd, 0)
            self._offset = 0

    def close(self) -> None:
        """Log what is left and let go of the file."""
        self.drain()
        if self._rest:
            write_line(self._rest)
        os.close(self._fd)


def write_line(line: bytes) -> None:
    """Log one line at the level that it names itself.

    containerd writes JSON. Shims, whose lines it passes on, write logrus's text. What is neither,
    a Go panic most likely, is an error.
    """
    if not line.strip():
        return
    try:
        record = typed_json.decode(line, dict[str, object])
    except msgspec.DecodeError:
        text = line.decode(errors="replace")
        found = _TEXT_LEVEL.search(text)
        level = LEVELS.get(found[1], "ERROR") if found else "ERROR"
        # Shims tell of each start at `info`, whatever containerd's own level is.
        log.log("DEBUG" if level == "INFO" else level, "{}", text)
        return
    level = LEVELS.get(str(record.pop("level", "")), "INFO")
    message = str(record.pop("msg", ""))
    if message == _EACH_END or _is_empty_cleanup(message):
        level = "DEBUG"
    record.pop("time", None)
    log.bind(containerd=record).log(level, "{}", message)


def _is_empty_cleanup(message: str) -> bool:
    """Whether the shim that cleaned up told of its own start, and of nothing left to remove."""
    told = message.removeprefix(_EACH_CLEANUP)
    harmless = told.count("level=info") + told.count(_NOTHING_LEFT)
    return told != message and told.count("level=") == harmless
