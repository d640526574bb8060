"""Noticing that a client has gone while its handler is silent, and ending the handler then.

A handler that neither reads nor writes would never hear of it (`docker wait`, a slow pull).
Reading ahead, as Go does, would cost a task per request. Here a sweeper looks ten times a second
for requests older than that, and only their sockets go into an epoll of their own, asked for
nothing but what epoll always tells: that the peer is gone.
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from typing import Final

import trio

from services.api.http.http1 import Http1Connection

SWEEP_S: Final = 0.1


class HangUpWatch:
    """The requests that one server is answering. `run` watches them."""

    def __init__(self) -> None:
        self._young: dict[Http1Connection, float] = {}  # in order of age
        self._watched: dict[
            int, Http1Connection
        ] = {}  # by descriptor; open as long as it stands here
        self._streaming: set[Http1Connection] = set()  # of those in either
        self._any_young = trio.Event()
        self._epoll: select.epoll | None = None

    def request_began(self, connection: Http1Connection) -> None:
        """See `ActiveRequests`."""
        self._young[connection] = trio.current_time()
        if not self._any_young.is_set():
            self._any_young.set()

    def answer_streams(self, connection: Http1Connection) -> None:
        """See `ActiveRequests`."""
        if connection in self._young:
            self._streaming.add(connection)
            return
        descriptor = connection.transport.socket.fileno()
        if self._watched.get(descriptor) is connection:
            self._streaming.add(connection)
            if self._epoll is not None and not self._epoll.closed:
                self._epoll.modify(descriptor, select.EPOLLRDHUP)

    def request_ended(self, connection: Http1Connection) -> None:
        """See `ActiveRequests`. May be called twice."""
        self._streaming.discard(connection)
        if self._young.pop(connection, None) is not None:
            return
        descriptor = connection.transport.socket.fileno()
        if self._watched.get(descriptor) is connection:
            del self._watched[descriptor]
            self._forget(descriptor)

    def _forget(self, descriptor: int) -> None:
        # A socket that was closed has left the epoll by itself; so has everything when `run` ended.
        if self._epoll is not None and not self._epoll.closed:
            with suppress(OSError):
                self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Watch until cancelled. The server's own task, once per run."""
        with select.epoll() as self._epoll:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sweep, self._epoll)
                nursery.start_soon(self._cancel_gone, self._epoll)

    async def _sweep(self, epoll: select.epoll) -> None:
        """Move requests that have grown old into the epoll. No wake-ups while there are none."""
        while True:
            if not self._young:
                self._any_young = trio.Event()
                await self._any_young.wait()
            await trio.sleep(SWEEP_S)
            horizon = trio.current_time() - SWEEP_S
            while self._young:
                connection, began_at = next(iter(self._young.items()))
                if began_at > horizon:
                    break
                del self._young[connection]
                self._watch(epoll, connection)

    def _watch(self, epoll: select.epoll, connection: Http1Connection) -> None:
        sock = connection.transport.socket
        descriptor = sock.fileno()
        if descriptor < 0:
            return
        # A unix peer that closes hangs up; one that only ends its direction does not, and may wait
        # for its answer. TCP cannot tell the two apart: there an end counts as gone, as in Go. So
        # it does of a stream: docker's `ssh://` can tell no better that nobody reads it any more.
        may_wait = sock.family == socket.AF_UNIX and connection not in self._streaming
        mask = 0 if may_wait else select.EPOLLRDHUP
        self._watched[descriptor] = connection
        epoll.register(descriptor, mask)

    async def _cancel_gone(self, epoll: select.epoll) -> None:
        while True:
            await trio.lowlevel.wait_readable(epoll.fileno())
            for descriptor, _ in epoll.poll(0):
                connection = self._watched.pop(descriptor, None)
                self._forget(descriptor)
                if connection is not None:
                    self._streaming.discard(connection)
                    connection.scope.cancel()
