"""Contexts that clients send beside the call that builds: handed from one call to the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import trio

from services.errors import Conflict, DeadlineExceeded
from services.images.ports import Body

MEETING_LIMIT_S: Final = 30.0  # how long one call waits for the other


@dataclass(slots=True, kw_only=True, eq=False)
class Upload:
    """A body that its build reads; `read` when that is done with it."""

    body: Body
    taken: trio.Event = field(default_factory=trio.Event)
    read: trio.Event = field(default_factory=trio.Event)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self.body:
                yield piece
        finally:
            self.read.set()


class Uploads:
    """Those that are offered, by their build's name."""

    def __init__(self) -> None:
        self._offered: dict[str, Upload] = {}
        self._changed = trio.lowlevel.ParkingLot()

    async def offer(self, name: str, body: Body) -> None:
        """Have a body read by the build of that name.

        Raises:
            Conflict: it has one.
            DeadlineExceeded: the build does not come.
        """
        if name in self._offered:
            raise Conflict(f"the build {name} has a context already")
        upload = self._offered[name] = Upload(body=body)
        self._changed.unpark_all()
        try:
            with trio.move_on_after(MEETING_LIMIT_S):
                await upload.taken.wait()
            if not upload.taken.is_set():
                raise DeadlineExceeded(f"no build {name} has asked for its context")
            await upload.read.wait()
        finally:
            del self._offered[name]

    async def take(self, name: str) -> Upload:
        """The body that is offered to a build. Raises DeadlineExceeded."""
        with trio.move_on_after(MEETING_LIMIT_S):
            while name not in self._offered:
                await self._changed.park()
            upload = self._offered[name]
            upload.taken.set()
            return upload
        raise DeadlineExceeded(f"no context was sent for the build {name}")
