"""A helper process started ahead of all else: it comes up while Python still imports the engine.

Imports no trio. For modules of the standard library's alone, see `process`.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Self

END_LIMIT_S = 2.0


class HelperAhead:
    """A helper that nobody speaks to yet: until `take` it is ended with the block.

    None is started where it cannot be: whoever wants one finds that out again, and says so.
    """

    def __init__(self, program: str, kind: socket.SocketKind) -> None:
        self._program = program
        self._kind = kind
        self._started: tuple[socket.socket, subprocess.Popen[bytes]] | None = None

    def __enter__(self) -> Self:
        with suppress(OSError):
            ours, theirs = socket.socketpair(socket.AF_UNIX, self._kind)
            with theirs:
                try:
                    self._started = ours, spawn(self._program, theirs.fileno())
                except OSError:
                    ours.close()
                    raise
        return self

    def take(self) -> tuple[socket.socket, subprocess.Popen[bytes]] | None:
        """Our end of its socket and the process, now the caller's; None the next time."""
        started, self._started = self._started, None
        return started

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        started = self.take()
        if started is None:
            return
        control, process = started
        control.close()  # it ends when nobody speaks to it any more
        try:
            process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def spawn(program: str, descriptor: int, *words: str) -> subprocess.Popen[bytes]:
    """Start a helper that speaks through `descriptor`. Raises OSError: it cannot be started."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", program, str(descriptor), *words],
        pass_fds=(descriptor,),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a terminal's Ctrl-C is for us alone
    )
