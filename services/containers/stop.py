"""Ending what runs: stop, kill, and the end of the daemon."""

from __future__ import annotations

import math
import os
import signal as signals
from contextlib import suppress
from typing import Final

import msgspec
import trio
from loguru import logger

from services.containerd import Containerd
from services.containers.container import Container
from services.containers.journal import Journal, container_event
from services.containers.model import State
from services.containers.run import Run, Runs
from services.containers.spec import parse_signal
from services.errors import Conflict, DeadlineExceeded, EngineError, NotFound, NotModified

log = logger.bind(service="containers")

DEFAULT_STOP_GRACE_S: Final = 10.0
"""Docker's, when neither the container nor the request says otherwise."""

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
        default_grace_s: float = DEFAULT_STOP_GRACE_S,
    ) -> None:
        self._containerd = containerd
        self._journal = journal
        self._runs = runs
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
            raise NotModified(f"container {container.name} is not running")
        await self._remember_stopped(container)
        if await self._call_off_restart(container):
            return
        grace_s = self.grace_s(container) if grace_s is None else grace_s
        await self._end(container, number, grace_s)
        await self._journal.tell(container_event(container, "stop"))

    async def stop_for_shutdown(self, run: Run) -> None:
        """As `stop`, but the restart policy is to act at the next start of the daemon."""
        run.stop_wanted.set()
        container = run.container
        try:
            await self._end(container, stop_signal(container), self.grace_s(container))
        except EngineError as error:
            log.error("container not stopped", container=container.id, error=str(error))

    async def kill(self, container: Container, signal: str = "") -> None:
        """Send one signal, SIGKILL by default; for that one, return once the container has exited.

        Raises:
            Conflict: it does not run.
        """
        number = parse_signal(signal) if signal else signals.SIGKILL
        if not container.is_running or container.state is State.RESTARTING:
            if container.state is State.RESTARTING:
                await self._remember_stopped(container)
                await self._call_off_restart(container)
                return
            raise Conflict(f"container {container.id} is not running")
        if number in (signals.SIGKILL, stop_signal(container)):
            await self._remember_stopped(container)
        if number == signals.SIGKILL:
            await self._kill_and_wait(container)
        else:
            await self._signal(container, number)

    def grace_s(self, container: Container) -> float:
        """The container's own stop time-out; infinite for Docker's -1."""
        configured = container.definition.config.stop_timeout
        if not isinstance(configured, int):
            return self._default_grace_s
        return math.inf if configured < 0 else float(configured)

    async def _end(self, container: Container, number: int, grace_s: float) -> None:
        waiter = container.waiter("not-running")
        try:
            with suppress(DeadlineExceeded):  # a shim that is stuck now may answer the kill
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
            await self._signal(container, signals.SIGKILL)
            with trio.move_on_after(KILL_LIMIT_S):
                await waiter.wait()
                return
            _kill_process(container.status.pid)
            with trio.move_on_after(2.0):
                await waiter.wait()
                return
        finally:
            container.forget_waiter(waiter)
        raise DeadlineExceeded(
            f"container {container.name} was killed, but no exit was reported; "
            "its shim may be stuck"
        )

    async def _signal(self, container: Container, number: int) -> None:
        paused = container.state is State.PAUSED
        with suppress(NotFound):  # it exited by itself between our look and our signal
            await self._containerd.tasks.kill(container.id, number)
            await self._journal.tell(container_event(container, "kill", {"signal": str(number)}))
            if paused:
                await self._containerd.tasks.resume(container.id)  # a frozen process hears nothing

    async def _remember_stopped(self, container: Container) -> None:
        if run := self._runs.get(container):
            run.stop_wanted.set()
        if not container.status.stopped_by_user:
            status = msgspec.structs.replace(container.status, stopped_by_user=True)
            await self._journal.set_status(container, status)

    async def _call_off_restart(self, container: Container) -> bool:
        if container.state is not State.RESTARTING:
            return False
        run = self._runs.get(container)
        with trio.fail_after(KILL_LIMIT_S):
            if run is not None:
                await run.ended.wait()
        return not container.is_running


def stop_signal(container: Container) -> int:
    """The signal that asks this container to end."""
    configured = container.definition.config.stop_signal
    return parse_signal(configured) if isinstance(configured, str) and configured else 15


def _kill_process(pid: int) -> None:
    """Kill the container's first process past its shim."""
    if pid <= 0:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signals.SIGKILL)
