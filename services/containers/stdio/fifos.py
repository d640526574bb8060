"""Named pipes between a process's shim and us."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.containers.stdio.streams import Stream

PIPE_BYTES: Final = 1 << 20  # what an unprivileged process may ask for: /proc/sys/fs/pipe-max-size


@dataclass(frozen=True, slots=True, kw_only=True)
class StdioPaths:
    """FIFO paths as a task is created with; "" where the process has no such stream."""

    stdin: str
    stdout: str
    stderr: str


def make_fifo(path: Path) -> None:
    """Make a FIFO of mode 0600, or keep the one that is there: a shim may have it open.

    Raises:
        FileExistsError: `path` is something else than a FIFO.
    """
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        if not stat.S_ISFIFO(path.lstat().st_mode):
            raise


def open_reader(path: Path) -> int:
    """A non-blocking descriptor of the read end. Never blocks.

    Until the first writer came, a read gives b"" and only readiness tells the truth: wait first.
    """
    return _enlarge(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))


def open_writer(path: Path) -> int:
    """A non-blocking descriptor to write with, before and after the shim has opened its end.

    Opened for both directions: write-only would fail until a reader is there. The price: a process
    that closed its stdin shows as a full pipe, not as a broken one.
    """
    return _enlarge(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))


def open_readers(directory: Path) -> list[int]:
    """Read ends of the output pipes in a folder, as far as they are there.

    A shim that was about to start a process blocks, with all that it does, until its pipes have a
    reader: containerd gives up after 30 s.
    """
    found = []
    for stream in (Stream.STDOUT, Stream.STDERR):
        with suppress(OSError):
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
            found.append(os.open(fifo_path(directory, stream), flags))
    return found


def announce_absent_writer(path: Path) -> None:
    """Let the reader (we must be one) see the end of the stream if nobody has it open to write.

    A writer that comes and goes leaves the reader at the end; one that never came, or went before
    the reader opened its end, leaves it waiting for ever.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))


def remove_fifos(directory: Path) -> None:
    """Remove what `fifo_path` names in `directory`; absent ones are fine."""
    for stream in Stream:
        fifo_path(directory, stream).unlink(missing_ok=True)


def fifo_path(directory: Path, stream: Stream) -> Path:
    """Where the FIFO of `stream` stands."""
    return directory / stream.label


def _enlarge(fd: int) -> int:
    with suppress(OSError):  # EPERM past the user's share of pipe memory: the usual 64 KB will do
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return fd
