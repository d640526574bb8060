"""Ending what runs: stop, kill, and the end of the daemon."""

from __future__ import annotations

import math
import os
import signal as signals
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.containerd import Containerd
from services.containers.container import Container
from services.containers.journal import Journal, container_event
from services.containers.lifecycle import LifeEvent, next_state
from services.containers.model import State
from services.containers.runs.run import Run, Runs
from services.containers.spec import parse_signal
from services.containers.stop_order import StopOrder
from services.errors import (
    Conflict,
    DeadlineExceeded,
    EngineError,
    NotFound,
    NotModified,
    Unavailable,
)

log = logger.bind(service="containers")

DEFAULT_STOP_GRACE_S: Final = 10.0
"""Docker's, when neither the container nor the request says otherwise."""

SIGNAL_LIMIT_S: Final = 5.0
"""How long a shim may take to pass a signal on: it does so in milliseconds, or it is stuck."""

PAST_SHIM_LIMIT_S: Final = 2.0

FROZEN_AFTER_S: Final = 1.0
"""What is not dead so long after its SIGKILL may be frozen."""

KILL_LIMIT_S: Final = 10.0
"""How long a killed container may take to be reported as exited (dockerd's figure)."""


class Stopper:
    """Signals containers and waits for what comes of it; the exit itself is recorded elsewhere."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        journal: Journal,
        runs: Runs,
        order: StopOrder,
        thaw: Callable[[Container], None],
        default_grace_s: Callable[[], float] = lambda: DEFAULT_STOP_GRACE_S,
    ) -> None:
        """`thaw` lets frozen processes go without their shim.

        `default_grace_s` is asked at each stop: a reload changes it.
        """
        self._thaw_past_shim = thaw
        self._containerd = containerd
        self._journal = journal
        self._runs = runs
        self._order = order
        self._default_grace_s = default_grace_s

    async def stop(
        self, container: Container, *, signal: str = "", grace_s: float | None = None
    ) -> None:
        """Ask a container to end, kill it when `grace_s` is over, return once it has exited.

        `grace_s` None is the container's own, infinity waits for ever. Source: Engine API,
        POST /containers/{id}/stop.

        Raises:
            NotModified: it does not run.
            InvalidParameter: `signal` is none.
            DeadlineExceeded: it was killed, and still no exit was reported.
        """
        number = parse_signal(signal) if signal else stop_signal(container)
        if not container.is_running:
            if container.status.stopped_for:  # its group is not to start it again
                await self._remember_stopped(container)
            raise NotModified(f"container {container.name} is not running")
        await self._remember_stopped(container)
        if not await self._call_off_restart(container):
            grace_s = self.grace_s(container) if grace_s is None else grace_s
            await self._end(container, number, grace_s)
        await self._journal.tell(container_event(container, "stop"))

    async def stop_for_shutdown(self, run: Run) -> None:
        """As `stop`, in its turn; the restart policy is to act at the next start of the daemon."""
        run.stop_wanted.set()
        container = run.container
        try:
            await self._order.turn(container, self.grace_s(container))
            await self._end(container, stop_signal(container), self.grace_s(container))
        except EngineError as error:
            log.error("container not stopped", container=container.id, error=str(error))

    async def stop_for_group(self, container: Container) -> None:
        """As `stop`, but it is its group that wants it, which starts it again."""
        if run := self._runs.get(container):
            run.stop_wanted.set()
        try:
            if not await self._call_off_restart(container):
                await self._end(container, stop_signal(container), self.grace_s(container))
        except EngineError as error:
            log.error("member not stopped", container=container.id, error=str(error))

    async def end_unhealthy(self, container: Container) -> None:
        """As `stop`, but its restart policy acts on its exit."""
        try:
            await self._end(container, stop_signal(container), self.grace_s(container))
        except EngineError as error:  # the next probe that fails leads here again
            log.error("container not ended", container=container.id, error=str(error))

    async def kill(self, container: Container, signal: str = "") -> None:
        """Send one signal, SIGKILL by default; for that one, return once the container has exited.

        Raises:
            Conflict: it does not run.
            DeadlineExceeded: its shim does not answer, or no exit was reported.
        """
        number = parse_signal(signal) if signal else signals.SIGKILL
        if not container.is_running:
            raise Conflict(f"container {container.id} is not running")
        if number in (signals.SIGKILL, stop_signal(container)):
            await self._remember_stopped(container)
        elif container.state is State.RESTARTING:
            return  # there is no process to hear it
        if await self._call_off_restart(container):
            return
        if number == signals.SIGKILL:
            await self._kill_and_wait(container)
        elif not await self._signal(container, number):
            raise DeadlineExceeded(
                f"container {container.name} did not take the signal; its shim may be stuck"
            )

    def grace_s(self, container: Container) -> float:
        """The container's own stop time-out; infinite for Docker's -1."""
        configured = container.definition.config.stop_timeout
        if not isinstance(configured, int):
            return self._default_grace_s()
        return math.inf if configured < 0 else float(configured)

    async def _end(self, container: Container, number: int, grace_s: float) -> None:
        waiter = container.waiter("not-running")
        try:
            # Not taken now: a shim that is stuck may answer the kill.
            await self._signal(container, number)
            with trio.move_on_after(grace_s):
                await waiter.wait()
                return
        finally:
            container.forget_waiter(waiter)
        await self._kill_and_wait(container)

    async def _kill_and_wait(self, container: Container) -> None:
        waiter = container.waiter("not-running")
        try:
            if await self._signal(container, signals.SIGKILL):
                with trio.move_on_after(FROZEN_AFTER_S):
                    await waiter.wait()
                    return
                if container.state is State.PAUSED:  # it was frozen after the signal had left
                    self._thaw_past_shim(container)
                with trio.move_on_after(KILL_LIMIT_S):
                    await waiter.wait()
                    return
            _kill_process(container.id, container.status.pid)
            self._thaw_past_shim(container)
            with trio.move_on_after(PAST_SHIM_LIMIT_S):
                await waiter.wait()
                return
        finally:
            container.forget_waiter(waiter)
        raise DeadlineExceeded(
            f"container {container.name} was killed, but no exit was reported; "
            "its shim may be stuck"
        )

    async def _signal(self, container: Container, number: int) -> bool:
        """Send a signal; False when its shim did not take it in time."""
        paused = container.state is State.PAUSED
        with trio.move_on_after(SIGNAL_LIMIT_S) as limit, suppress(NotFound, DeadlineExceeded):
            with container.signalling():
                await self._containerd.tasks.kill(container.id, number)
                told = container_event(container, "kill", {"signal": str(number)})
                await self._journal.tell(told)
            if paused:
                await self._thaw(container)
        return not limit.cancelled_caught  # NotFound: it exited between our look and our signal

    async def _thaw(self, container: Container) -> None:
        """A frozen process hears nothing; SIGKILL may have ended it all the same."""
        try:
            await self._containerd.tasks.resume(container.id)
        except (Unavailable, DeadlineExceeded):
            raise
        except EngineError as error:
            log.info("container not thawed", container=container.id, error=str(error))

    async def _remember_stopped(self, container: Container) -> None:
        if run := self._runs.get(container):
            run.stop_wanted.set()
        if not container.status.stopped_by_user or container.status.stopped_for:
            await self._journal.change_status(container, stopped_by_user=True, stopped_for="")

    async def _call_off_restart(self, container: Container) -> bool:
        """Whether the container only waited for its restart, and now does not any more."""
        if container.state is not State.RESTARTING:
            return False
        waiter = container.waiter("not-running")
        try:
            # A launch that is under way has the turn: it is let through, and stopped afterwards.
            async with container.turn("its stop"):
                waits = container.status.state is State.RESTARTING
                if waits and self._runs.get(container) is None:
                    gone = next_state(container.state, LifeEvent.GIVEN_UP)
                    await self._journal.change_status(container, state=gone)
                    return True
            if not waits:
                return not container.is_running
            with trio.move_on_after(KILL_LIMIT_S):
                await waiter.wait()
                return True
        finally:
            container.forget_waiter(waiter)
        raise DeadlineExceeded(f"the restart of container {container.name} was not called off")


def stop_signal(container: Container) -> int:
    """The signal that asks this container to end."""
    configured = container.definition.config.stop_signal
    return parse_signal(configured) if isinstance(configured, str) and configured else 15


def _kill_process(container_id: str, pid: int) -> None:
    """Kill the container's first process past its shim, if that pid is (still) its."""
    with suppress(OSError):
        if pid > 0 and container_id in Path(f"/proc/{pid}/cgroup").read_text():
            os.kill(pid, signals.SIGKILL)
