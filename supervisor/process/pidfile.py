"""The PID file: one engine at a time.

Source: moby, pkg/pidfile and daemon/command (the sentences, what counts as running).
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class PidFileError(Exception):
    """Another process holds the PID file; the text is dockerd's and names the process."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(
            f"failed to start daemon, ensure docker is not running or delete {path}: "
            f"process with PID {pid} is still running"
        )
        self.path = path
        self.pid = pid


class PidFile:
    """Holds `path` with our process id from entering to leaving.

    Two guards: a lock that ends with its process, so that of two starts at once one wins; and the
    process id in the file, for writers that take no lock. A file whose process is gone is taken
    over. Blocking, but on a local file only.

    Raises, on entering:
        PidFileError: its process is alive, or another one is just starting.
        OSError: the file or its folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> Self:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._fd = self._lock()
        try:
            self._take_over()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # While we hold the lock nobody has taken the file over; it may have been removed, though.
        if self._is_ours():
            self._path.unlink()
        self._close()

    def _take_over(self) -> None:
        """Write our process id in place of one whose process is gone."""
        pid = _read_pid(self._path)
        if pid is not None and is_running(pid):
            raise PidFileError(self._path, pid)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d" % os.getpid(), 0)

    def _lock(self) -> int:
        """A descriptor of the file that `path` names now, locked."""
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                raise PidFileError(self._path, _read_pid(self._path) or 0) from None
            # One that was leaving may have unlinked the file between our open and our lock.
            with suppress(FileNotFoundError):
                if _same(fd, self._path):
                    return fd
            os.close(fd)

    def _is_ours(self) -> bool:
        with suppress(FileNotFoundError):
            return _same(self._fd, self._path)
        return False

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1


def _same(fd: int, path: Path) -> bool:
    return os.path.samestat(os.fstat(fd), os.stat(path))


def _read_pid(path: Path) -> int | None:
    """The process id in the file; None when there is none that makes sense."""
    try:
        text = path.read_bytes().strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdigit() and 0 < int(text) < 2**31 else None


def is_running(pid: int) -> bool:
    """Whether `pid` is a live process other than this one. A zombie is not alive.

    Our own id stands in a file of a former life: in a container ids start over at every start.
    """
    if pid == os.getpid():
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # The name in parentheses may hold anything; the state follows the last of them.
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")
