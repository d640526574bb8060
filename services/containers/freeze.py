"""Containers whose processes are frozen: by their users, and by the engine while it looks at files.

What the engine freezes for itself it has promised to let go of. That stands in the container's row
before anything is frozen, so that the next engine keeps the promise of one that was killed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Protocol

import trio

from services.containers.container import Container
from services.containers.journal import Journal, container_event
from services.containers.lifecycle import LifeEvent, next_state
from services.containers.model import State
from services.errors import Conflict, DeadlineExceeded, EngineError, NotFound

EXEC_STARTS_LIMIT_S: Final = 20.0
"""How long a pause waits for execs that are being started: longer than one may take."""


class FreezingTasks(Protocol):
    """containerd's tasks, as far as they freeze."""

    async def pause(self, container_id: str, /) -> None:
        """Freeze all processes."""

    async def resume(self, container_id: str, /) -> None:
        """Let them go on."""


class ExecStarts(Protocol):
    """What a container's run has for the starts of execs in it."""

    @property
    def exec_turns(self) -> trio.CapacityLimiter:
        """Of one: who has it may start an exec, or keep everybody from it."""


class FreezingRuns(Protocol):
    """The runs of containers."""

    def get(self, container: Container, /) -> ExecStarts | None:
        """The one of a container; None: it does not run."""


class Freezer:
    """Freezes containers and lets them go, each in its turn."""

    def __init__(self, *, tasks: FreezingTasks, journal: Journal, runs: FreezingRuns) -> None:
        self._tasks, self._journal, self._runs = tasks, journal, runs

    async def pause(self, container: Container) -> None:
        """Freeze all processes. Source: Engine API, ContainerPause.

        Raises:
            Conflict: it does not run, or is paused already.
            DeadlineExceeded: the start of an exec in it does not end.
        """
        async with container.turn("its pause"):
            _check_pausable(container)
            with _ended_meanwhile(container):
                await self._pause(container)

    async def unpause(self, container: Container) -> None:
        """Let them go on. Raises Conflict when it is not paused."""
        async with container.turn("its unpause"):
            if container.state is not State.PAUSED:
                raise Conflict(f"container {container.id} is not paused")
            with _ended_meanwhile(container):
                await self._resume(container)

    async def hold(self, container: Container) -> None:
        """Freeze it for the engine's own sake. Raises as `pause`; `let_go` is due all the same."""
        async with container.turn("its pause"):
            _check_pausable(container)
            await self._journal.change_status(container, is_held=True)
            with _ended_meanwhile(container):
                await self._pause(container)

    async def let_go(self, container: Container) -> None:
        """Undo `hold`, whatever has become of the container."""
        async with container.turn("its unpause"):
            await self.finish(container)

    async def finish(self, container: Container) -> None:
        """What is still held is let go. For whoever has the container's turn."""
        if not container.status.is_held:
            return
        if container.state is State.PAUSED:
            # It has ended or was thawed, and that is not recorded yet.
            with suppress(NotFound, Conflict):
                await self._resume(container)
                return
        if container.state is State.RUNNING:  # a freezing that was given up may have come to pass
            with suppress(EngineError):
                await self._tasks.resume(container.id)
        await self._journal.change_status(container, is_held=False)

    async def _pause(self, container: Container) -> None:
        async with self._no_exec_starts(container):
            await self._tasks.pause(container.id)
            await self._change_state(container, LifeEvent.PAUSED)

    @asynccontextmanager
    async def _no_exec_starts(self, container: Container) -> AsyncIterator[None]:
        """Nobody starts an exec meanwhile.

        runc starts it within the container's cgroup. Frozen half-way it never answers its shim,
        which holds a lock that even the thawing needs: nothing could end the container any more.
        """
        run = self._runs.get(container)
        if run is None:
            yield
            return
        with trio.move_on_after(EXEC_STARTS_LIMIT_S) as limit:
            await run.exec_turns.acquire()
        if limit.cancelled_caught:
            raise DeadlineExceeded(
                f"container {container.id} is not paused: a command in it does not come to start"
            )
        try:
            yield
        finally:
            run.exec_turns.release()

    async def _resume(self, container: Container) -> None:
        await self._tasks.resume(container.id)
        await self._change_state(container, LifeEvent.RESUMED, is_held=False)

    async def _change_state(self, container: Container, event: LifeEvent, **changes: Any) -> None:
        told = container_event(container, event.value)
        state = next_state(container.state, event)
        await self._journal.change_status(container, told, state=state, **changes)


@contextmanager
def _ended_meanwhile(container: Container) -> Iterator[None]:
    """containerd has seen the container's end before us."""
    try:
        yield
    except NotFound as error:
        raise Conflict(f"container {container.id} is not running") from error


def _check_pausable(container: Container) -> None:
    if container.state is State.PAUSED:
        raise Conflict(f"container {container.id} is already paused")
    container.check_running()
