"""Our end of one of a process's output pipes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from services.containers.stdio import fifos
from services.containers.stdio.streams import Stream


class Source:
    """The read end of one output FIFO, and how its reader fares. Nothing here blocks."""

    def __init__(self, directory: Path, stream: Stream) -> None:
        self.stream = stream
        self.path = fifos.fifo_path(directory, stream)
        self.fd = -1
        self.ended = False
        self.waiting = trio.CancelScope()
        self.held = trio.CancelScope()  # while the log has no room
        self.held_s = 0.0  # since the process's exit: held up by the attached
        self.prompt = 0  # steps in a row for which nobody had to wait
        self.late_bytes = 0  # taken when the time for it was over

    def open(self) -> None:
        """Make or adopt the FIFO and open our end, unless it is open or has ended."""
        if self.fd < 0 and not self.ended:
            fifos.make_fifo(self.path)
            self.fd = fifos.open_reader(self.path)

    def close(self) -> None:
        """Close our end; whoever waits at it is woken."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            trio.lowlevel.notify_closing(fd)
            os.close(fd)

    def notice_absent_writer(self) -> None:
        """Do not wait for a shim that is gone, or that never came."""
        if self.fd >= 0:
            with suppress(OSError):  # the FIFO was removed under us; there is a time limit then
                fifos.announce_absent_writer(self.path)

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Within the block a writer that goes is not the end: another may come."""
        if self.fd < 0:
            yield
            return
        writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # we read: it opens
        try:
            yield
        finally:
            os.close(writer)
