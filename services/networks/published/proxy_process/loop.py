"""The loop that all ports share: what is watched, and how many sockets there may be."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

CHUNK_BYTES = 1 << 18


class Loop:
    """Calls whoever watches a socket. `buffer` is for one read that is written at once."""

    def __init__(self, *, most_sockets: int) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self._left = most_sockets
        self.buffer = memoryview(bytearray(CHUNK_BYTES))

    def turn(self, limit_s: float) -> None:
        """Wait for something to happen, no longer than that, and make the calls for it."""
        for descriptor, events in self._epoll.poll(limit_s):
            call = self._calls.get(descriptor)
            if call is not None:  # another's call may have closed it
                call(events)

    def watch(self, end: socket.socket, events: int, call: Callable[[int], None]) -> None:
        """Call for these events from now on; for none at all without any."""
        number = end.fileno()
        if number not in self._calls:
            if events:
                self._epoll.register(number, events)
                self._calls[number] = call
        elif events:
            self._epoll.modify(number, events)
        else:
            self._epoll.unregister(number)  # or it would go on telling of a hang-up
            del self._calls[number]

    def close(self, end: socket.socket) -> None:
        """Close a socket, whether it is watched or not."""
        if end.fileno() in self._calls:
            self._epoll.unregister(end.fileno())
            del self._calls[end.fileno()]
        end.close()

    def take_sockets(self, count: int) -> bool:
        """Whether there may be so many more."""
        is_there = self._left >= count
        self._left -= count if is_there else 0
        return is_there

    def give_back_sockets(self, count: int) -> None:
        """So many are closed."""
        self._left += count
