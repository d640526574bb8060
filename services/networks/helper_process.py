"""Processes of ours that stand beside the engine: a module of the standard library's alone, run by
itself, and a socket to speak to it by.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio


@asynccontextmanager
async def started(
    program: str, kind: socket.SocketKind, *words: str
) -> AsyncIterator[tuple[trio.socket.SocketType, subprocess.Popen[bytes]]]:
    """Our end of its socket, and the process. After the block the socket is closed.

    `program` is the module's file, or a package's folder, which gets a descriptor's number and
    `words`. What becomes of the process is the caller's affair: it sees that its socket has ended.

    Raises:
        OSError: it cannot be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    control = trio.socket.from_stdlib_socket(ours)
    try:
        with theirs:
            start = partial(_start, program, theirs.fileno(), *words)
            process = await trio.to_thread.run_sync(start)
        yield control, process
    finally:
        control.close()


def _start(program: str, descriptor: int, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", program, str(descriptor), *words],
        pass_fds=(descriptor,),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a terminal's Ctrl-C is for us alone
    )
