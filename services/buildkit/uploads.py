"""Contexts that clients send beside the call that builds: handed from one call to the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from services.errors import Conflict, DeadlineExceeded
from services.images.ports import Body

MEETING_LIMIT_S: Final = 30.0  # how long one call waits for the other


@dataclass(slots=True, kw_only=True, eq=False)
class _Upload:
    """A body on its way to its build; `done` when that wants no more of it."""

    body: Body
    taken: trio.Event = field(default_factory=trio.Event)
    done: trio.Event = field(default_factory=trio.Event)


class Uploads:
    """Those that are offered, by their build's name."""

    def __init__(self) -> None:
        self._offered: dict[str, _Upload] = {}
        self._changed = trio.lowlevel.ParkingLot()

    async def offer(self, name: str, body: Body) -> None:
        """Have a body read by the build of that name; returns when it wants no more of it.

        Raises:
            Conflict: it has one.
            DeadlineExceeded: the build does not come.
        """
        if name in self._offered:
            raise Conflict(f"the build {name} has a context already")
        upload = self._offered[name] = _Upload(body=body)
        self._changed.unpark_all()
        try:
            with trio.move_on_after(MEETING_LIMIT_S):
                await upload.taken.wait()
            if not upload.taken.is_set():
                raise DeadlineExceeded(f"no build {name} has asked for its context")
            await upload.done.wait()
        finally:
            del self._offered[name]

    @asynccontextmanager
    async def taken(self, name: str) -> AsyncIterator[Body]:
        """The body that is offered to a build, which may read it in the block.

        Raises:
            DeadlineExceeded: none is.
        """
        with trio.move_on_after(MEETING_LIMIT_S):
            while name not in self._offered:
                await self._changed.park()
        upload = self._offered.get(name)
        if upload is None:
            raise DeadlineExceeded(f"no context was sent for the build {name}")
        upload.taken.set()
        try:
            yield upload.body
        finally:  # a build that fails before it has read anything is done with it, too
            upload.done.set()
