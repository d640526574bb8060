"""The API's supervisor: one server for each listener, which a reload adds and takes away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

import trio

from services.api.http.server import ApiServer
from services.api.listening.listener import Listener
from supervisor.otp import ChildSpec, NotFound, NotRunning, Restart, Running, Supervisor
from supervisor.patience import OFTEN

DRAIN_LIMIT_S = 15.0
RETIRE_LIMIT_S = 1.0
FORGET_TRIES, FORGET_PAUSE_S = 100, 0.01


class ApiServers:
    """`run` is a supervised child: a supervisor over the servers that there are at its start.

    A server that is taken away stops accepting at once and is left to drain beside the others: who
    asked for that may be one of its clients.
    """

    def __init__(
        self, make: Callable[[Listener], ApiServer], listeners: Iterable[Listener]
    ) -> None:
        self._make = make
        self._made = 0
        self._specs: dict[Listener, ChildSpec] = {}
        self._servers: dict[Listener, ApiServer] = {}
        self._ended: dict[Listener, trio.Event] = {}  # set whenever the server's run has ended
        self._supervisor: Supervisor | None = None
        self._retired: list[tuple[str, trio.Event]] = []
        for listener in listeners:
            self._new(listener)

    def _new(self, listener: Listener) -> ChildSpec:
        server = self._make(listener)
        child_id, ended = f"server-{self._made}", trio.Event()
        spec = ChildSpec(
            id=child_id,
            start=partial(_run, server, ended),
            # It returns by itself when it was retired.
            restart=Restart.TRANSIENT,
            shutdown_s=DRAIN_LIMIT_S,
        )
        self._made += 1
        self._specs[listener], self._servers[listener] = spec, server
        self._ended[listener] = ended
        return spec

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """As a supervisor's; may be called again, and then begins with the servers of then."""
        self._supervisor = Supervisor(self._specs.values(), name="api", intensity=OFTEN)
        await self._supervisor.run(task_status=task_status)

    def __contains__(self, listener: Listener) -> bool:
        """Whether it is served."""
        return listener in self._servers

    async def add(self, listener: Listener) -> None:
        """Serve on one listener more; returns once it accepts.

        Raises:
            NotRunning: the API does not run (now); nothing has changed.
            Exception: what the server's start raised; nothing has changed.
        """
        assert self._supervisor is not None
        spec = self._new(listener)
        try:
            await self._supervisor.start_child(spec)
        except BaseException:
            self._forget(listener)
            raise

    async def retire(self, listener: Listener) -> None:
        """Serve there no more: nothing new is accepted once this returns, what is open drains."""
        server = self._servers[listener]
        self._retired.append((self._specs[listener].id, self._ended[listener]))
        self._forget(listener)
        with trio.move_on_after(RETIRE_LIMIT_S):  # it may be between two lives
            await server.retire()

    def _forget(self, listener: Listener) -> None:
        del self._specs[listener], self._servers[listener], self._ended[listener]

    async def settle(self) -> None:
        """Wait until retired servers have drained, and forget their children."""
        while self._retired:
            child_id, ended = self._retired[0]
            with trio.move_on_after(DRAIN_LIMIT_S):
                await ended.wait()
            await self._forget_child(child_id)
            self._retired.pop(0)

    async def _forget_child(self, child_id: str) -> None:
        assert self._supervisor is not None
        with suppress(NotFound, NotRunning):  # the API began anew, without it
            for _ in range(FORGET_TRIES):
                with suppress(Running):
                    await self._supervisor.delete_child(child_id)
                    return
                # The supervisor hears of an end a moment after the child's own last step.
                await trio.sleep(FORGET_PAUSE_S)


async def _run(server: ApiServer, ended: trio.Event, *, task_status: trio.TaskStatus[str]) -> None:
    try:
        await server.run(task_status=task_status)
    finally:
        ended.set()
