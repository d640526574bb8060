"""A helper process started ahead of all else: it comes up while Python still imports the engine.

Imports no trio. For modules of the standard library's alone, see `process`.
"""

from __future__ import annotations

import socket
import subprocess
import sys

from services.ahead import ProcessAhead, wait_or_kill

END_LIMIT_S = 2.0

Helper = tuple[socket.socket, subprocess.Popen[bytes]]
"""Our end of its socket, and the process."""


class HelperAhead(ProcessAhead[Helper]):
    """A helper that nobody speaks to yet."""

    def __init__(self, program: str, kind: socket.SocketKind) -> None:
        super().__init__()
        self._program = program
        self._kind = kind

    def _start(self) -> Helper:
        ours, theirs = socket.socketpair(socket.AF_UNIX, self._kind)
        with theirs:
            try:
                return ours, spawn(self._program, theirs.fileno())
            except OSError:
                ours.close()
                raise

    def _end(self, started: Helper) -> None:
        control, process = started
        control.close()  # it ends when nobody speaks to it any more
        wait_or_kill(process, END_LIMIT_S)


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
