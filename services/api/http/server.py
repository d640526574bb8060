"""The API server: one supervised child per listener, over a dup() of its socket.

It owns its connections and nothing that must outlive it: the listening socket stays with
`Listeners`, so that a restart costs no client a refused connection.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import trio
from loguru import logger

from services.api.http.asgi import ASGIApp
from services.api.http.connections import Connections
from services.api.http.drain import Drain
from services.api.http.watch import HangUpWatch


class ListenerLike(Protocol):
    """What the server needs of a listener; `services.api.listening` has one."""

    @property
    def address(self) -> str:
        """As the operator wrote it, for the log."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """None: connections are plain."""

    def dup(self) -> socket.socket:
        """A descriptor of its own on the listening socket."""


class StopSignal(Protocol):
    """A supervisor's request to stop. `supervisor.otp.StopRequest` provides it."""

    async def wait(self) -> None:
        """Block until the stop is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """How one API server behaves."""

    drain_s: float = 10.0  # after a stop is asked for, how long open requests may run on

    def __post_init__(self) -> None:
        if self.drain_s < 0:
            raise ValueError(f"drain_s must not be negative: {self.drain_s}")


class ApiServer:
    """Serves an ASGI app on one listener. `run` is a supervised child and may run again."""

    def __init__(
        self,
        app: ASGIApp,
        listener: ListenerLike,
        *,
        config: ServerConfig | None = None,
        stop_request: Callable[[], StopSignal],
    ) -> None:
        """`stop_request` is `supervisor.otp.stop_request`, asked for inside `run`."""
        self._app = app
        self._listener = listener
        self._config = config or ServerConfig()
        self._stop_request = stop_request
        self._retired = trio.Event()
        self._is_deaf = trio.Event()  # set once a retired server has closed its listening socket

    @property
    def listener(self) -> ListenerLike:
        """Where it serves."""
        return self._listener

    async def retire(self) -> None:
        """Accept nothing more; `run` returns once what is open has ended as in any other stop.

        Returns when it has closed its own descriptor of the listening socket: the address is free
        when the listener's is closed too. `run` must be running.
        """
        self._retired.set()
        await self._is_deaf.wait()

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until a stop is asked for, then drain. Ready, with the address, once it accepts."""
        stop = self._stop_request()
        drain = Drain()
        active = HangUpWatch()
        # TLS as it is when a connection comes: a reload may bring another certificate.
        served = Connections(self._app, lambda: self._listener.tls, drain, active)
        accepting = trio.SocketListener(trio.socket.from_stdlib_socket(self._listener.dup()))
        log = logger.bind(service="api")
        async with trio.open_nursery() as watchers:
            watchers.start_soon(active.run)
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as acceptors:
                    accept = partial(
                        trio.serve_listeners,
                        served.serve,
                        [accepting],
                        handler_nursery=connections,
                    )
                    await acceptors.start(accept)
                    log.info("API listens", address=self._listener.address)
                    task_status.started(self._listener.address)
                    ending = trio.Event()
                    acceptors.start_soon(_set_after, stop, ending)
                    acceptors.start_soon(_set_after, self._retired, ending)
                    await ending.wait()
                    acceptors.cancel_scope.cancel()
                if self._retired.is_set():
                    self._is_deaf.set()
                log.info("API drains", address=self._listener.address, open=len(served.open))
                connections.cancel_scope.deadline = trio.current_time() + self._config.drain_s
                await served.begin_drain()
            if connections.cancel_scope.cancelled_caught:
                log.warning("API cut off what did not end in time", address=self._listener.address)
            watchers.cancel_scope.cancel()


async def _set_after(first: StopSignal, then: trio.Event) -> None:
    await first.wait()
    then.set()
