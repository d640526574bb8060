"""The senders of all logs that go elsewhere: one task for each log, under one supervised part."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from services.containers.logs.remote.log import RemoteLog


DRAIN_S: Final = 3.0
"""At the engine's end: for what the containers said last. What is left is sent by the next one."""

FAREWELL_S: Final = 10.0
AWAY_FAREWELL_S: Final = 1.0
"""How long the removal of a container waits for its lines to be sent; the second if nobody is
there to take them."""

_LOOK_S: Final = 0.1


class StopSignal(Protocol):
    """A supervisor's request to stop. `supervisor.otp.StopRequest` provides it."""

    async def wait(self) -> None:
        """Block until the stop is asked for."""


class Shipping:
    """Takes logs, and sends what they have and get. `run` is a supervised child."""

    def __init__(self, *, stop_request: Callable[[], StopSignal]) -> None:
        self._stop_request = stop_request
        self._scopes: dict[RemoteLog, trio.CancelScope] = {}
        self._ended: dict[RemoteLog, trio.Event] = {}  # of those that run
        self._nursery: trio.Nursery | None = None

    def add(self, log: RemoteLog) -> None:
        """Send from this log too. A second call does nothing."""
        if log not in self._scopes:
            self._scopes[log] = trio.CancelScope()
            self._start(log)

    async def let_go(self, log: RemoteLog) -> None:
        """The log is about to be removed: wait a while for its last lines, then forget it."""
        if log not in self._scopes:
            return
        log.shipper.settle()  # also one whose run never came about
        until = trio.current_time() + FAREWELL_S
        away_until = trio.current_time() + AWAY_FAREWELL_S
        if self._nursery is not None:
            caught_up = False
            while not caught_up and trio.current_time() < until:
                if log.shipper.is_away and trio.current_time() >= away_until:
                    break
                with trio.move_on_after(_LOOK_S):
                    await log.shipper.wait_caught_up()
                    caught_up = True
        self._scopes.pop(log).cancel()
        if (ended := self._ended.get(log)) is not None:
            await ended.wait()
        await log.shipper.leave_behind()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send until a stop is asked for; then for DRAIN_S more. May be run again."""
        stop = self._stop_request()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for log in tuple(self._scopes):
                    self._scopes[log] = trio.CancelScope()
                    self._start(log)
                task_status.started()
                await stop.wait()
                with trio.move_on_after(DRAIN_S):
                    for log in tuple(self._scopes):
                        if not log.shipper.is_away:
                            await log.shipper.wait_caught_up()
                nursery.cancel_scope.cancel()
        finally:
            self._nursery = None

    def _start(self, log: RemoteLog) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._ship, log, self._scopes[log])

    async def _ship(self, log: RemoteLog, scope: trio.CancelScope) -> None:
        self._ended[log] = trio.Event()
        try:
            with scope:
                await log.shipper.run()
        finally:
            self._ended.pop(log).set()
