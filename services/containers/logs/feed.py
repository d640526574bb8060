"""How far a log has been written, for those who follow it."""

from __future__ import annotations

from dataclasses import dataclass

import trio


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What may be read: every earlier generation whole, of this one `size_bytes`."""

    generation: int
    size_bytes: int


class Feed:
    """Tells readers what they may read now, and wakes them when it changes. Loop only."""

    def __init__(self) -> None:
        self.extent: Extent | None = None  # None: nobody is writing, the files speak for themselves
        self.last: Extent | None = None  # where the latest run was or ended
        self._changed = trio.lowlevel.ParkingLot()

    def announce(self, extent: Extent) -> None:
        """A run is under way and this much of it may be read."""
        if extent != self.extent:
            self.extent = self.last = extent
            self._changed.unpark_all()

    def end(self, extent: Extent) -> None:
        """The run ended there: followers finish."""
        self.last = extent
        self.extent = None
        self._changed.unpark_all()

    async def wait_beyond(self, extent: Extent) -> None:
        """Block until the extent is another than `extent`."""
        while self.extent == extent:
            await self._changed.park()
