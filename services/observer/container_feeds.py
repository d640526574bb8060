"""One container for somebody who watches it: the end of its log as it grows, and what it uses."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

from services.containers import Container, Containers
from services.containers.logs import LogQuery
from services.containers.stats import Sample

from . import sse

TAIL_LIMIT: Final = 1000
LINES_AT_ONCE: Final = 200  # in one event
_FRAME: Final = struct.Struct(">BxxxI")
_STREAMS: Final = {1: "stdout", 2: "stderr"}


@asynccontextmanager
async def log_events(
    containers: Containers, container: Container, *, tail: int
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Events `lines`: `[[stream, text with its time], ...]`; `end` when the run is over.

    A reader that is slow holds up nobody but itself: it reads from the log's files.

    Raises:
        NotSupported: the container's log cannot be read.
    """
    query = LogQuery(follow=True, tail=min(tail, TAIL_LIMIT), timestamps=True)
    reader = await containers.log_reader(container)
    async with reader.read(query) as blocks:
        yield _log_events(blocks)


async def _log_events(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield sse.OPENING
    rest = b""
    async for block in blocks:
        lines, rest = split_frames(rest + block)
        for first in range(0, len(lines), LINES_AT_ONCE):
            yield sse.event("lines", lines[first : first + LINES_AT_ONCE])
    yield sse.event("end", {})


def split_frames(data: bytes) -> tuple[list[tuple[str, str]], bytes]:
    """The whole frames in `data` as stream and text, and what is left.

    Source: Engine API, "Stream format".
    """
    lines = []
    offset = 0
    while offset + _FRAME.size <= len(data):
        stream, size = _FRAME.unpack_from(data, offset)
        end = offset + _FRAME.size + size
        if end > len(data):
            break
        text = data[offset + _FRAME.size : end].decode(errors="replace")
        lines.append((_STREAMS.get(stream, ""), text.rstrip("\r\n")))
        offset = end
    return lines, data[offset:]


async def usage_events(containers: Containers, container: Container) -> AsyncIterator[bytes]:
    """Events `usage`, one a second; `end` when it does not run any more.

    One sample is taken for all who watch; one who is slow gets the newest.
    """
    yield sse.OPENING
    with containers.statistics.subscribe(container) as reader:
        while (sample := await reader.next()) is not None:
            yield sse.event("usage", usage_to_wire(sample))
    yield sse.event("end", {})


def usage_to_wire(sample: Sample) -> dict[str, Any]:
    """Counters since the container's start, and gauges. Times are nanoseconds."""
    memory = sample.memory
    cache = memory.stats.get("total_inactive_file", memory.stats.get("inactive_file", 0))
    networks = sample.networks.values()
    return {
        "at_ns": sample.read_ns,
        "cpu_ns": sample.cpu.total_ns,
        "cpus": sample.cpu.online_cpus,
        "memory_bytes": max(0, memory.usage_bytes - cache),
        "memory_limit_bytes": memory.limit_bytes,
        "pids": sample.pids.current,
        "rx_bytes": sum(one.rx_bytes for one in networks),
        "tx_bytes": sum(one.tx_bytes for one in networks),
        "read_bytes": sum(_blocks(sample, "read")),
        "written_bytes": sum(_blocks(sample, "write")),
    }


def _blocks(sample: Sample, operation: str) -> Iterator[int]:
    return (one.value for one in sample.io_service_bytes if one.op.lower() == operation)
