"""Starts by hand: once what is left of the last run has ended, in the container's turn."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio

from services.containers.container import Container
from services.containers.model import State
from services.containers.remove import Remover
from services.containers.runs.life import Lives
from services.containers.runs.run import Runs
from services.errors import Conflict, EngineError, NotModified
from services.measures import Durations

OLD_RUN_LIMIT_S: Final = 5.0


class Starter:
    """Starts containers."""

    def __init__(self, *, runs: Runs, lives: Lives, remover: Remover, actions: Durations) -> None:
        self._runs, self._lives, self._remover = runs, lives, remover
        self._actions = actions

    async def start(self, container: Container) -> None:
        """Start a container; return once its process runs. Source: Engine API, ContainerStart.

        Raises:
            NotModified: it runs already.
            Conflict: it is paused, or being removed.
            InvalidParameter: its command cannot be started.
        """
        # A client that leaves in the middle must not leave half a start. Each step has its limit.
        with trio.CancelScope(shield=True):
            try:
                async with container.turn("its start"):
                    _check_startable(container)
                    with self._actions.timed("start"):
                        await self._end_old_run(container)
                        await self._lives.begin(container)
            except EngineError:
                await self._remove_unstarted(container)
                raise

    async def _remove_unstarted(self, container: Container) -> None:
        """With --rm a container whose start failed is gone; the client waits for that."""
        is_ephemeral = container.definition.host_config.auto_remove
        if is_ephemeral and container.state in (State.CREATED, State.EXITED):
            with suppress(EngineError):
                await self._remover.remove_stopped(container)

    async def _end_old_run(self, container: Container) -> None:
        """What is left of the last run: a client that still reads its output loses the rest."""
        run = self._runs.get(container)
        if run is not None and not await run.end_within(OLD_RUN_LIMIT_S):
            raise Conflict(f"container {container.name} is still ending; try again")


def _check_startable(container: Container) -> None:
    if container.state is State.PAUSED:
        raise Conflict("cannot start a paused container, try unpause instead")
    if container.is_running:
        raise NotModified(f"container {container.name} is already running")
    if container.state in (State.REMOVING, State.DEAD):
        raise Conflict("container is marked for removal and cannot be started")
