"""Makes logs, writes and reads them; and reads json-file logs the plain way, to compare with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from services.containers.logs import (
    FileLog,
    FileOptions,
    Format,
    JsonLines,
    LogQuery,
    LogReader,
)
from services.containers.logs.file_log import Packing
from services.containers.logs.files import LogFiles
from services.containers.stdio import Stream


def make_json_log(
    tmp_path: Path,
    *,
    max_bytes: int | None = None,
    max_files: int = 1000,
    compress: bool = False,
    format: Format | None = None,
    packing: Packing | None = None,
) -> FileLog:
    """A log, of json-file unless another format is given."""
    options = FileOptions(max_bytes=max_bytes, max_files=max_files, compress=compress)
    return FileLog(tmp_path / "c-json.log", options, format or JsonLines(), packing=packing)


def write(log: FileLog, data: bytes, stream: Stream = Stream.STDOUT) -> None:
    """As the pump does: until all of it is logged."""
    while data:
        data = data[log.write(stream, data) :]


async def read(log: FileLog, query: LogQuery) -> bytes:
    """The whole answer."""
    async with LogReader(files=log.files, feed=log.feed, format=log.format).read(query) as blocks:
        return b"".join([block async for block in blocks])


def raw(**changes: object) -> LogQuery:
    """A query without frames."""
    return LogQuery(multiplexed=False, **changes)  # type: ignore[arg-type]


def all_entries(files: LogFiles) -> list[dict[str, Any]]:
    """Every line of every file, oldest first."""
    files.scan()
    entries = []
    for generation in range(files.oldest(), files.generation + 1):
        opened = files.open(generation)
        if opened is not None:
            with opened.file as file:
                entries += [json.loads(line) for line in file.read().splitlines()]
    return entries


def logged_text(log: FileLog, stream: str = "stdout") -> bytes:
    """What a stream's lines say when put together."""
    return "".join(
        entry["log"] for entry in all_entries(log.files) if entry["stream"] == stream
    ).encode()
