"""The supervisor of all running containers, and how long the daemon's end may take them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio
from loguru import logger

from services.containers.stop import Stopper
from services.containers.stop_order import StopOrder
from services.containers.table import ContainerTable
from supervisor.otp import DynamicSupervisor, StopRequest, stop_request

log = logger.bind(service="containers")

BEYOND_GRACE_S: Final = 5.0
"""dockerd's, for what follows a container's own stop time-out."""


class Running:
    """One supervised child for each running container; asked to stop, all are asked at once.

    Each then waits for its turn in `order`. What has not ended when the time is over is let go: it
    runs on, and the next daemon adopts it; `left` names it.
    """

    def __init__(
        self,
        *,
        supervisor: DynamicSupervisor,
        table: ContainerTable,
        stopper: Stopper,
        order: StopOrder,
        outlives: Callable[[], bool],
        shutdown_timeout_s: Callable[[], float],
    ) -> None:
        """Both are asked at the end, for they may be changed meanwhile.

        `outlives`: whether containers are to run on without us.
        """
        self._supervisor = supervisor
        self._table = table
        self._stopper = stopper
        self._order = order
        self._outlives = outlives
        self._shutdown_timeout_s = shutdown_timeout_s
        self.left: tuple[str, ...] = ()  # names of containers that should have ended, and have not

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """A supervisor's run, with a limit on its end that is set when it is asked to end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._limit_end, stop_request(), nursery.cancel_scope)
            await self._supervisor.run(task_status=task_status)
            nursery.cancel_scope.cancel()
        if not self._outlives():
            self.left = tuple(sorted(container.name for container in self._order.alive()))

    def end_limit_s(self) -> float:
        """How long the end of all may take, infinite if need be.

        Source: moby, daemon.ShutdownTimeout: a container's own stop time-out extends it.
        """
        limit_s = self._shutdown_timeout_s()
        graces = [self._stopper.grace_s(c) for c in self._table if c.is_running]
        return max([math.inf if limit_s < 0 else limit_s, *(g + BEYOND_GRACE_S for g in graces)])

    async def _limit_end(self, request: StopRequest, scope: trio.CancelScope) -> None:
        await request.wait()
        limit_s = self.end_limit_s()
        self._order.begin(trio.current_time() + limit_s)
        await trio.sleep(limit_s)
        names = sorted(container.name for container in self._order.alive())
        log.warning("containers did not end in time and are left", after_s=limit_s, names=names)
        scope.cancel()
