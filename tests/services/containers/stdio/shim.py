"""Plays containerd's shim: holds FIFOs open in both directions, as it does, and writes to them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from services.containers.stdio import Stdio, StdioPaths, Stream


class Shim:
    """The other end of one process's FIFOs. Holding both directions keeps what a FIFO holds."""

    def __init__(self, paths: StdioPaths) -> None:
        named = {
            Stream.STDIN: paths.stdin,
            Stream.STDOUT: paths.stdout,
            Stream.STDERR: paths.stderr,
        }
        self.fds = {
            stream: os.open(path, os.O_RDWR | os.O_NONBLOCK)
            for stream, path in named.items()
            if path
        }

    async def write(self, stream: Stream, data: bytes) -> None:
        """Write all of it; blocks as the process would."""
        view = memoryview(data)
        while view:
            await trio.lowlevel.wait_writable(self.fds[stream])
            view = view[os.write(self.fds[stream], view) :]

    async def read_stdin(self, count: int) -> bytes:
        """Exactly `count` bytes of what was typed."""
        parts = []
        while count:
            await trio.lowlevel.wait_readable(self.fds[Stream.STDIN])
            parts.append(os.read(self.fds[Stream.STDIN], count))
            count -= len(parts[-1])
        return b"".join(parts)

    def close(self, *streams: Stream) -> None:
        """The process closed these; all of them without arguments."""
        for stream in streams or tuple(self.fds):
            fd = self.fds.pop(stream, None)
            if fd is not None:
                os.close(fd)


@asynccontextmanager
async def running(stdio: Stdio) -> AsyncIterator[Shim]:
    """A process with `stdio` under a pump; ends with the block, and is then drained."""
    await stdio.prepare()
    shim = Shim(stdio.paths)
    stdio.process_started()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(stdio.pump)
            yield shim
            shim.close()
            stdio.process_exited()
            await stdio.wait_drained()
    finally:
        shim.close()
        await stdio.close()


def make_stdio(directory: Path, **changes: object) -> Stdio:
    """Without tty, stdin and log, unless `changes` say otherwise."""
    arguments: dict[str, object] = {"tty": False, "stdin": False, "log": None} | changes
    return Stdio(directory=directory / "io", **arguments)  # type: ignore[arg-type]
