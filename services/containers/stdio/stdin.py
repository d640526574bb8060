"""The way in: a process's stdin, shared by those attached to it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.containers.stdio import fifos
from services.errors import EngineError

log = logger.bind(service="stdio")

_STEP_BYTES: Final = 256 * 1024  # copied into the pipe per step of the loop


class Stdin:
    """Writes to the stdin FIFO, and closes it once, in order, when asked to.

    `once`: the end of an attached session's input ends the process's (Docker's StdinOnce).
    `on_closed` tells the shim, which holds a write end of its own until then. Both have to wait
    until the process is there: closing before the shim opened its end would drop what the pipe
    holds.
    """

    def __init__(self, *, once: bool, on_closed: Callable[[], Awaitable[object]] | None) -> None:
        self.once = once
        self._on_closed = on_closed
        self._fd = -1
        self._turn = trio.Lock()
        self.opened = trio.Event()  # set by who called `open`, which runs in a thread
        self._started = trio.Event()
        self._close_asked = trio.Event()
        self._shim_told = False

    def open(self, path: Path) -> None:
        """Open the FIFO unless it is open. Blocks on the file system only."""
        if self._fd < 0 and not self._shim_told:
            self._fd = fifos.open_writer(path)

    def process_started(self) -> None:
        """The shim has the FIFO open."""
        self._started.set()

    def request_close(self) -> None:
        """Ask that stdin ends after what was sent; `run_closer` does it."""
        self._close_asked.set()

    async def send(self, data: bytes) -> None:
        """Write all of `data`, not interleaved with another sender's. Waits until stdin is open.

        Raises:
            trio.BrokenResourceError: stdin is closed.
        """
        await self.opened.wait()
        async with self._turn:
            view = memoryview(data)
            while view:
                view = view[await self._send_some(view[:_STEP_BYTES]) :]

    async def run_closer(self) -> None:
        """Close stdin when asked, then return. Run again, it completes what was cut short."""
        await self._close_asked.wait()
        await self._started.wait()
        async with self._turn:
            self.close()
        if not self._shim_told and self._on_closed is not None:
            try:
                await self._on_closed()
            except EngineError as error:  # most often: the process is gone, and its stdin with it
                log.info("stdin not closed", error=str(error))
        self._shim_told = True

    def close(self) -> None:
        """Close our end now; a blocked sender gets BrokenResourceError."""
        self.opened.set()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            trio.lowlevel.notify_closing(fd)
            os.close(fd)

    async def _send_some(self, view: memoryview) -> int:
        while True:
            if self._fd < 0 or self._close_asked.is_set():
                raise trio.BrokenResourceError("stdin is closed")
            try:
                written = os.write(self._fd, view)
            except BlockingIOError:
                try:
                    await trio.lowlevel.wait_writable(self._fd)
                except trio.ClosedResourceError as error:
                    raise trio.BrokenResourceError("stdin is closed") from error
            else:
                await trio.lowlevel.checkpoint()  # a fast reader must not let us starve the others
                return written
