"""A program on a real pseudo terminal: what is typed, what is shown, how big it is."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

LIMIT_S: Final = 60.0


class Terminal:
    """The master's side of a terminal on which a child process runs. Made by `on_terminal`."""

    def __init__(self, pid: int, master: int) -> None:
        self.pid = pid
        self.shown = ""  # everything so far
        self._master = master
        self._status: int | None = None
        self._searched = 0

    def type(self, text: str) -> None:
        """Press keys; control characters are sent as they are."""
        os.write(self._master, text.encode())

    def expect(self, text: str, *, limit_s: float = LIMIT_S) -> str:
        """Wait until `text` has been shown after the last text that was expected.

        Returns what was shown before it.
        """
        deadline = time.monotonic() + limit_s
        while (found := self.shown.find(text, self._searched)) < 0:
            assert self._read_more(deadline), f"{text!r} was not shown:\n{self.shown!r}"
        before = self.shown[self._searched : found]
        self._searched = found + len(text)
        return before

    def resize(self, *, rows: int, columns: int) -> None:
        """Change the window's size; the foreground process hears SIGWINCH."""
        set_size(self._master, rows=rows, columns=columns)

    def wait(self, *, limit_s: float = LIMIT_S) -> int:
        """Read to the end; the exit status, negative for a signal."""
        deadline = time.monotonic() + limit_s
        while self._read_more(deadline):
            pass
        while self._poll() is None:
            assert time.monotonic() < deadline, f"still running:\n{self.shown!r}"
            time.sleep(0.01)
        assert self._status is not None
        return self._status

    def close(self) -> None:
        """Take the terminal away and end the process."""
        if self._poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)

    def _read_more(self, deadline: float) -> bool:
        """False at the end of output, or when time is up."""
        left_s = max(0.0, deadline - time.monotonic())
        if not select.select([self._master], [], [], left_s)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: no process has the terminal open any more
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def _poll(self) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status


def set_size(descriptor: int, *, rows: int, columns: int) -> None:
    """Set a terminal's size in characters."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def on_terminal(
    command: Sequence[str], environment: Mapping[str, str], *, rows: int = 24, columns: int = 80
) -> Iterator[Terminal]:
    """Run a program with a terminal of its own as its controlling one; ended with the block."""
    pid, master = pty.fork()
    if pid == 0:  # the child: nothing but system calls until the exec
        try:
            set_size(0, rows=rows, columns=columns)
            os.execvpe(command[0], list(command), dict(environment))
        finally:
            os._exit(127)
    terminal = Terminal(pid, master)
    try:
        yield terminal
    finally:
        terminal.close()
