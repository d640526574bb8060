"""Threads for writing logs: the talkative take turns, the quiet do not wait for them."""

from __future__ import annotations

import fcntl
import struct
import termios
from typing import Final

import trio

# More than this waiting in a FIFO is a talkative process's. Encoding it takes a fraction of a ms.
_QUIET_BYTES: Final = 16 * 1024
_COUNT: Final = struct.Struct("i")


class Lanes:
    """Two limits on threads, to be shared by all of an engine's `Stdio`s.

    Threads that write logs compete with the loop for the interpreter, so few are best. Measured on
    two cores with 50 containers writing all they can: a quiet one's line reached its follower in
    2 ms (median; 7 ms at worst) with two threads for bulk, and in 270 ms with a thread for each.
    """

    def __init__(self, *, bulk: int = 2, quiet: int = 2) -> None:
        self._bulk = trio.CapacityLimiter(bulk)
        self._quiet = trio.CapacityLimiter(quiet)

    def for_fifo(self, fd: int) -> trio.CapacityLimiter:
        """The limit that fits what the FIFO holds now."""
        (waiting,) = _COUNT.unpack(fcntl.ioctl(fd, termios.FIONREAD, bytes(_COUNT.size)))
        return self._quiet if waiting <= _QUIET_BYTES else self._bulk

    @property
    def is_crowded(self) -> bool:
        """Whether more processes have just written a little than there are threads for.

        So it is for a moment when many that write all they can begin at once: each is a quiet one
        as long as nobody lets it fill its FIFO.
        """
        return self._quiet.statistics().tasks_waiting > 0

    @property
    def bulk(self) -> trio.CapacityLimiter:
        """For work whose time nobody waits for."""
        return self._bulk

    @property
    def quiet(self) -> trio.CapacityLimiter:
        """For short work that is not about a FIFO's contents."""
        return self._quiet
