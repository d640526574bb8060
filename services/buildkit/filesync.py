"""Takes a directory of the client's over: DiffCopy, in the wire format of fsutil.

The client tells of all files first, in order; then it sends the data of those that are asked for,
some at a time. Source: fsutil, send.go and receive.go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from protos.generated.fsutil.types import Packet, PacketPacketType
from services.errors import EngineError, InvalidParameter
from services.grpc.stream import Stream

from .methods import FILE_SYNC
from .sessions import Session, encoded_metadata
from .tree import TreeData, TreePlan, read_entry

T = TypeVar("T")

REQUESTS_AHEAD: Final = 32  # files whose data is asked for at a time
GATHERED_BYTES: Final = 1 << 20  # written at once: a way to a thread costs as much as 100 KB
RUN_BYTES: Final = 1 << 19  # received at once
STAT_BYTES: Final = 256  # what a packet counts for besides its data
MAX_TREE_BYTES: Final = 1 << 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A directory that the client has under `name`. `follow` are the only paths that are wanted,
    with what their links lead to; none means all but what `exclude` has."""

    name: str
    exclude: Sequence[str] = ()
    follow: Sequence[str] = ()

    def metadata(self) -> list[tuple[str, str]]:
        """As the call's metadata."""
        lists = {"exclude-patterns": self.exclude, "followpaths": self.follow}
        return encoded_metadata(
            {"dir-name": [self.name], **{name: texts for name, texts in lists.items() if texts}}
        )


class Transfer:
    """One directory on its way into `target`, which is empty."""

    def __init__(
        self,
        wanted: Wanted,
        target: Path,
        *,
        disk: trio.CapacityLimiter,
        advance: Callable[[int], None],
    ) -> None:
        """`advance` hears how many bytes have come so far."""
        self._wanted, self._target = wanted, target
        self._disk, self._advance = disk, advance
        self._plan = TreePlan()
        self._received = 0
        self._ahead: deque[Packet] = deque()  # received, and not looked at yet

    async def run(self, session: Session) -> None:
        """Have all of it.

        Raises:
            InvalidParameter: what the client sends is no tree of files, or too much.
            EngineError: the client has an error of its own, or has gone.
        """
        async with session.stream(FILE_SYNC, self._wanted.metadata()) as stream:
            await self._read_entries(stream)
            await self._run(partial(self._plan.make, self._target))
            data = TreeData(self._plan, self._target)
            try:
                await self._read_data(stream, data)
            finally:
                with trio.CancelScope(shield=True):
                    await self._run(data.close)
            await self._run(partial(self._plan.finish, self._target))
            # With the end of our side, or the client resets the stream as it ends its own, and what
            # it has said last may be lost.
            await stream.send(Packet(type=PacketPacketType.PACKET_FIN), end=True)
            while (packet := await self._next(stream)) is not None:
                if packet.type is PacketPacketType.PACKET_FIN:
                    return

    async def _read_entries(self, stream: Stream[Packet, Packet]) -> None:
        while True:
            packet = await self._next(stream)
            if packet is None:
                raise EngineError(f"the client ended the transfer of {self._wanted.name} early")
            if packet.type is not PacketPacketType.PACKET_STAT:
                raise InvalidParameter("the client sends data that nobody asked for")
            said = packet.stat
            if said is None:
                return
            self._plan.add(
                read_entry(said.path, said.mode, said.size, said.mod_time, said.linkname)
            )

    async def _read_data(self, stream: Stream[Packet, Packet], data: TreeData) -> None:
        waiting = [n for n, entry in enumerate(self._plan.entries) if entry.has_data and entry.size]
        waiting.reverse()
        asked: set[int] = set()
        pieces: list[tuple[int, bytes]] = []
        gathered = 0
        while waiting or asked:
            while waiting and len(asked) < REQUESTS_AHEAD:
                number = waiting.pop()
                asked.add(number)
                await stream.send(Packet(type=PacketPacketType.PACKET_REQ, id=number))
            packet = await self._next(stream)
            if packet is None:
                raise EngineError(f"the client ended the transfer of {self._wanted.name} early")
            if packet.type is not PacketPacketType.PACKET_DATA or packet.id not in asked:
                raise InvalidParameter("the client sends data that nobody asked for")
            pieces.append((packet.id, packet.data))
            gathered += len(packet.data)
            if not packet.data:
                asked.discard(packet.id)
            if gathered >= GATHERED_BYTES or not (waiting or asked):
                await self._run(partial(data.write, pieces))
                pieces, gathered = [], 0
        await self._run(partial(data.write, pieces))

    async def _next(self, stream: Stream[Packet, Packet]) -> Packet | None:
        if not self._ahead:
            run_bytes = 0

            def is_last(packet: Packet) -> bool:
                # The client sends on until a file has ended, whatever it is told meanwhile.
                nonlocal run_bytes
                run_bytes += len(packet.data) + STAT_BYTES
                return run_bytes >= RUN_BYTES or (packet.stat is None and not packet.data)

            self._ahead.extend(await stream.receive_run(is_last))
            if not self._ahead:
                return None
        packet = self._ahead.popleft()
        if packet.type is PacketPacketType.PACKET_ERR:
            raise EngineError(f"the client: {packet.data.decode(errors='replace')}")
        self._received += len(packet.data) + (len(packet.stat.path) if packet.stat else 0)
        if self._received > MAX_TREE_BYTES:
            raise InvalidParameter(f"{self._wanted.name} is larger than {MAX_TREE_BYTES} bytes")
        self._advance(self._received)
        return packet

    async def _run(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._disk)
