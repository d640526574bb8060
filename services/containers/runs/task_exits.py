"""The end of a task, as containerd tells of it, or as it is found to be gone.

A shim that died takes containerd a moment to bury: until then calls on it fail, from then on the
task is unknown.
"""

from __future__ import annotations

import time
from typing import Final

import trio
from loguru import logger

from services.containerd import Containerd, ShimGone, TaskExit
from services.containers.container import Container
from services.containers.model import ExitStatus
from services.containers.runs.run import Run
from services.errors import EngineError, NotFound, Unavailable

log = logger.bind(service="containers")

UNKNOWN_EXIT_CODE: Final = 255
"""dockerd's code for a container that was gone when we came back."""

BURIAL_S: Final = 0.2
"""How often we look whether containerd has taken away what a dead shim left."""

LOST_SHIM_EXIT_CODE: Final = 137
"""containerd kills what a dead shim leaves behind."""


class TaskExits:
    """Waits for them."""

    def __init__(self, containerd: Containerd) -> None:
        self._containerd = containerd

    async def wait(self, run: Run) -> ExitStatus:
        """Block until the task has exited; an absent containerd is waited for, however long.

        While it asks, cancelling `run.asking` has it ask anew.
        """
        container, is_shim_lost = run.container, False
        while True:
            exit_: TaskExit | None = None
            try:
                with trio.CancelScope() as run.asking:
                    exit_ = await self._containerd.tasks.wait(container.id)
            except Unavailable:
                await self._containerd.connection.wait_ready()
            except EngineError as error:
                if not _is_unknown(error):
                    is_shim_lost = True
                    log.warning("shim lost", container=container.id, error=str(error))
                    if await self._has_task(container):
                        await trio.sleep(BURIAL_S)
                        continue
                code = LOST_SHIM_EXIT_CODE if is_shim_lost else UNKNOWN_EXIT_CODE
                return ExitStatus(code=code, exited_at_ns=time.time_ns())
            if exit_ is not None:
                return ExitStatus(code=exit_.code, exited_at_ns=exit_.exited_at_ns)

    async def _has_task(self, container: Container) -> bool:
        """Whether containerd knows the task, be it one that it has yet to bury."""
        try:
            await self._containerd.tasks.get(container.id)
        except EngineError as error:
            return not _is_unknown(error)
        return True


def _is_unknown(error: EngineError) -> bool:
    """Whether containerd has no such task, as opposed to one whose shim has just gone."""
    return isinstance(error, NotFound) and not isinstance(error, ShimGone)
