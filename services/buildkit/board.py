"""How far a build is, for those who watch it: steps, what goes on in them, what they print.

Steps and output are kept from the build's begin, so that who comes late misses nothing; of a count
that grows only the newest is kept. Nothing is queued for a watcher: it reads at its own pace.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Final

import trio

from protos.generated.moby.buildkit.v1 import (
    StatusResponse,
    Vertex,
    VertexLog,
    VertexStatus,
    VertexWarning,
)
from protos.generated.wire import Timestamp

MAX_LOG_BYTES: Final = 2 << 20
"""Of one step's output. Source: BuildKit, util/progress/logs (BUILDKIT_STEP_LOG_MAX_SIZE)."""

MAX_LOGS_BYTES: Final = 16 << 20  # of all steps
MAX_STATUSES: Final = 4096
_LOG_COST_BYTES: Final = 256  # of one piece of output, besides its text
BATCH_BYTES: Final = 1 << 20
BATCH_ITEMS: Final = 256
CLIPPED: Final = b"\n[output clipped, log limit 2MiB reached]\n"

Item = Vertex | VertexStatus | VertexLog | VertexWarning


class StatusBoard:
    """What is told of one build. Changed by the build, watched by clients."""

    def __init__(self, ref: str) -> None:
        """`ref` is the build's name: clients tell steps of all their builds apart by it."""
        self.ref: Final = ref
        self._items: dict[str, tuple[int, Item]] = {}  # in the order of their last change
        self._changes = 0
        self._log_bytes: dict[str, int] = {}
        self._all_log_bytes = 0
        self._statuses = 0
        self._lot = trio.lowlevel.ParkingLot()
        self._is_closed = False

    @property
    def size_bytes(self) -> int:
        """What the output that is kept takes."""
        return self._all_log_bytes

    def vertex(self, vertex: Vertex) -> None:
        """A step is there, begins, or ends."""
        self._put(f"event {self._changes}", vertex)

    def status(self, status: VertexStatus) -> None:
        """Something within a step has come so far."""
        key = f"status {status.vertex} {status.id}"
        if key not in self._items:
            if self._statuses >= MAX_STATUSES:
                return
            self._statuses += 1
        self._put(key, status)

    def log(self, vertex: str, data: bytes, *, is_stderr: bool) -> None:
        """A step prints something; past its limit that is passed over."""
        said = self._log_bytes.get(vertex, 0)
        if said > MAX_LOG_BYTES or self._all_log_bytes > MAX_LOGS_BYTES:
            return
        self._log_bytes[vertex] = said + len(data)
        self._all_log_bytes += len(data) + _LOG_COST_BYTES
        if said + len(data) > MAX_LOG_BYTES:
            data = data[: MAX_LOG_BYTES - said] + CLIPPED
        stream = 2 if is_stderr else 1
        entry = VertexLog(vertex=vertex, timestamp=now(), stream=stream, msg=data)
        self._put(f"event {self._changes}", entry)

    def warn(self, vertex: str, text: str) -> None:
        """A remark about a step."""
        entry = VertexWarning(vertex=vertex, level=1, short=text.encode(errors="replace"))
        self._put(f"event {self._changes}", entry)

    def close(self) -> None:
        """Nothing more will be told; watchers end when they have seen everything."""
        self._is_closed = True
        self._lot.unpark_all()

    async def watch(self) -> AsyncIterator[StatusResponse]:
        """Everything so far, then what is new, to the end."""
        seen = 0
        while True:
            if self._changes > seen:
                batch = StatusResponse()
                seen = self._take(seen, batch)
                yield batch
            elif self._is_closed:
                return
            else:
                await self._lot.park()

    def _take(self, seen: int, batch: StatusResponse) -> int:
        """Fill `batch` with what came after number `seen`; the number of the last of it."""
        fresh: list[tuple[int, Item]] = []
        for number, item in reversed(self._items.values()):
            if number <= seen:
                break
            fresh.append((number, item))
        size = 0
        last = seen
        for count, (number, item) in enumerate(reversed(fresh)):
            if size > BATCH_BYTES or count >= BATCH_ITEMS:
                return last
            last = number
            match item:
                case Vertex():
                    batch.vertexes.append(item)
                case VertexStatus():
                    batch.statuses.append(item)
                case VertexLog():
                    batch.logs.append(item)
                    size += len(item.msg)
                case VertexWarning():
                    batch.warnings.append(item)
        return self._changes

    def _put(self, key: str, item: Item) -> None:
        self._changes += 1
        self._items.pop(key, None)
        self._items[key] = (self._changes, item)
        self._lot.unpark_all()


def now() -> Timestamp:
    """This moment, as the protocol has it."""
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)
