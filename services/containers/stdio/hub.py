"""Hands one process's output to those who are attached to it, losing nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Final

import trio

from services.containers.stdio.stdin import Stdin
from services.containers.stdio.streams import Stream

# A reader this far behind holds up the process. One block more than this may be in its hands.
BACKLOG_BYTES: Final = 512 * 1024
_BLOCK_COST_BYTES: Final = 256  # what holding a block takes, so that many small ones count too


class AttachedStreams:
    """One attached session's view of a process: its output from now on, and its stdin.

    For one receiving and one sending task. Made by `Stdio.attach`, valid inside that block.
    """

    def __init__(
        self, *, wanted: Collection[Stream], stdin: Stdin | None, on_room: Callable[[], object]
    ) -> None:
        self._wanted = frozenset(wanted)
        self._stdin = stdin
        self._on_room = on_room
        self._blocks: deque[tuple[Stream, bytes]] = deque()
        self._held_bytes = 0
        self._ended = False
        self._reader = trio.lowlevel.ParkingLot()

    @property
    def closes_stdin(self) -> bool:
        """Does the end of this session's input end the process's (StdinOnce)?"""
        return self._stdin is not None and self._stdin.once

    async def receive(self) -> tuple[Stream, bytes]:
        """The next block of output.

        Raises:
            trio.EndOfChannel: all output there will ever be was received.
        """
        return (await self.receive_some(1))[0]

    async def receive_some(self, blocks: int = 64) -> list[tuple[Stream, bytes]]:
        """What has gathered, in order: 1 to `blocks` blocks. Raises as `receive`."""
        while not self._blocks:
            if self._ended:
                raise trio.EndOfChannel
            await self._reader.park()
        taken = [self._blocks.popleft() for _ in range(min(blocks, len(self._blocks)))]
        self._held_bytes -= sum(len(block) + _BLOCK_COST_BYTES for _, block in taken)
        self._on_room()
        return taken

    async def send_stdin(self, data: bytes) -> None:
        """Write all of `data` to the process; blocks while it does not read.

        Raises:
            trio.BrokenResourceError: its stdin is closed, or it was not asked for.
        """
        if self._stdin is None:
            raise trio.BrokenResourceError("this session has no stdin")
        await self._stdin.send(data)

    def close_stdin(self) -> None:
        """End the process's stdin where StdinOnce asks for it; otherwise nothing happens."""
        if self._stdin is not None and self._stdin.once:
            self._stdin.request_close()

    def holds_up(self, stream: Stream) -> bool:
        """Is this session too far behind to be given more of `stream`?"""
        return self._held_bytes >= BACKLOG_BYTES and stream in self._wanted

    def put(self, stream: Stream, block: bytes) -> None:
        """Give it a block; empty and unwanted ones are dropped. For the hub."""
        if block and stream in self._wanted:
            self._blocks.append((stream, block))
            self._held_bytes += len(block) + _BLOCK_COST_BYTES
            self._reader.unpark_all()

    def end(self) -> None:
        """There is no more output. For the hub."""
        self._ended = True
        self._reader.unpark_all()


class Hub:
    """The attached sessions of one process.

    A block goes to all of them in one step, so a caller that is cancelled or fails has handed it to
    everyone or to no one. A session that is full delays the next block (`wait_room`), as dockerd's
    unbuffered broadcast does; one that left delays nothing.
    """

    def __init__(self) -> None:
        self._sessions: set[AttachedStreams] = set()
        self._room = trio.lowlevel.ParkingLot()
        self._ended = False

    @property
    def wanted(self) -> bool:
        """Is anybody attached?"""
        return bool(self._sessions)

    def join(self, wanted: Collection[Stream], stdin: Stdin | None) -> AttachedStreams:
        """A session that gets every block offered from now on."""
        session = AttachedStreams(wanted=wanted, stdin=stdin, on_room=self._room.unpark_all)
        if self._ended:
            session.end()
        self._sessions.add(session)
        return session

    def leave(self, session: AttachedStreams) -> None:
        """Forget a session and what it has not received."""
        self._sessions.discard(session)
        self._room.unpark_all()

    def offer(self, stream: Stream, block: bytes) -> None:
        """Hand a block to every session. Never blocks."""
        for session in self._sessions:
            session.put(stream, block)

    async def wait_room(self, stream: Stream) -> None:
        """Block until no session is too far behind to be offered more of `stream`."""
        while any(session.holds_up(stream) for session in self._sessions):
            await self._room.park()

    def end(self) -> None:
        """No more blocks: sessions end once they received what they hold."""
        self._ended = True
        for session in self._sessions:
            session.end()
