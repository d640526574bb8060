"""Processes of ours that stand beside the engine: a module of the standard library's alone, run by
itself, and a socket to speak to it by.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from services.networks.helpers.ahead import HelperAhead, spawn


@asynccontextmanager
async def started(
    program: str, kind: socket.SocketKind, *words: str, ahead: HelperAhead | None = None
) -> AsyncIterator[tuple[trio.socket.SocketType, subprocess.Popen[bytes]]]:
    """Our end of its socket, and the process. After the block the socket is closed.

    `program` is the module's file, or a package's folder, which gets a descriptor's number and
    `words`; `ahead` may have started it, without words. What becomes of the process is the caller's
    affair: it sees that its socket has ended.

    Raises:
        OSError: it cannot be started.
    """
    taken = ahead.take() if ahead is not None else None
    if taken is not None:
        with trio.socket.from_stdlib_socket(taken[0]) as control:
            yield control, taken[1]
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with trio.socket.from_stdlib_socket(ours) as control:
        with theirs:
            start = partial(spawn, program, theirs.fileno(), *words)
            process = await trio.to_thread.run_sync(start)
        yield control, process
