"""The keeper: holds pipes open while no engine does. A program of its own; see `keeper`.

    python -I -S keeper_process.py <listening socket's descriptor> <its path>

It imports nothing of ours and little of Python's, so that it takes a few MB and cannot be kept from
starting. The path is there for people who look at the list of processes.
"""

from __future__ import annotations

import _socket
import os
import resource
import select
import sys

_MESSAGE_BYTES = 512
_MAX_FDS = 8
_CONTROL_BYTES = 128
_LOOK_MS = 5000  # how often pipes are looked at that may have been removed


class Keeper:
    """Pipes by name, for one engine at a time; the newest that connects is the engine."""

    def __init__(self, listener: _socket.socket) -> None:
        self._listener = listener
        self._engine: _socket.socket | None = None
        self._held: dict[bytes, list[int]] = {}

    def run(self) -> None:
        """Serve until there is no engine and nothing to hold for the next one."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll(_LOOK_MS)]
            if self._engine is not None and self._engine.fileno() in ready and not self._obey():
                self._leave(poll)
            if self._listener.fileno() in ready:
                if self._engine is not None:
                    self._leave(poll)
                accepted, _ = self._listener._accept()  # type: ignore[attr-defined]
                self._engine = _socket.socket(fileno=accepted)
                poll.register(self._engine, select.POLLIN)
            self._forget_removed()
            if self._engine is None and not self._held:
                return

    def _obey(self) -> bool:
        """One message; False when the engine is gone."""
        assert self._engine is not None
        try:
            message, control, _, _ = self._engine.recvmsg(_MESSAGE_BYTES, _CONTROL_BYTES)
        except OSError:
            return False
        fds: list[int] = []
        for _, _, data in control:
            fds += [int.from_bytes(data[n : n + 4], sys.byteorder) for n in range(0, len(data), 4)]
        verb, _, name = message.partition(b" ")
        if verb in (b"hold", b"drop"):
            old = self._held.pop(name, [])
            if fds:
                self._held[name] = fds[:_MAX_FDS]
            fds = old + fds[_MAX_FDS:]
        for fd in fds:
            os.close(fd)
        return bool(message)

    def _leave(self, poll: select.poll) -> None:
        assert self._engine is not None
        poll.unregister(self._engine)
        self._engine.close()
        self._engine = None

    def _forget_removed(self) -> None:
        """A pipe without a name is one that nobody will read."""
        for name, fds in list(self._held.items()):
            if all(os.fstat(fd).st_nlink == 0 for fd in fds):
                del self._held[name]
                for fd in fds:
                    os.close(fd)


def main() -> None:
    """Take the listener over and serve."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Keeper(_socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
