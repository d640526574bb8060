"""What a member's failure does to its group: others stop before it restarts, and start after it.

A failure is an end after which the member's own restart policy starts it again. The others are
stopped as by the engine, not as by a user: should the engine be killed in between, their policies
start them again with the next one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Protocol

import trio
from loguru import logger

from services.containers.container import Container
from services.containers.groups.labels import Membership
from services.containers.groups.rules import concerned, members, membership
from services.containers.model import State
from services.errors import EngineError
from supervisor.otp import Intensity
from supervisor.otp.intensity import RestartLog

log = logger.bind(service="containers")

BACKLOG: Final = 1000
"""Members whose groups wait to be started again; each waits for those before it."""


class Stop(Protocol):
    """Stops a container in its own time, so that it does not come back by itself."""

    def __call__(self, container: Container) -> Awaitable[None]:
        """Never fails: what could not be stopped is in the log."""
        ...


class Groups:
    """The groups of all containers. `run` is a supervised child."""

    def __init__(
        self,
        containers: Iterable[Container],
        *,
        stop: Stop,
        start: Callable[[Container], Awaitable[None]],
    ) -> None:
        self._containers, self._stop, self._start = containers, stop, start
        self._turns: dict[str, trio.Lock] = {}
        self._failures: dict[str, tuple[Intensity, RestartLog]] = {}
        self._stopped: dict[str, list[str]] = {}  # by whose failure: who is to start after it
        self._send, self._receive = trio.open_memory_channel[Container](BACKLOG)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start what was stopped, group after group, each in its order. Until cancelled."""
        task_status.started()
        async for container in self._receive:
            for container_id in self._stopped.pop(container.id, ()):
                await self._start_again(container_id)

    async def take_down(self, failed: Container, is_called_off: Callable[[], bool]) -> bool:
        """Before a restart: stop those whom the failure concerns, the last one first.

        `is_called_off`: whether `failed` itself is not to come back any more, for another's failure
        has stopped it meanwhile. False: the group has failed too often, and is down.
        """
        place = membership(failed)
        if place is None:
            return True
        async with self._turns.setdefault(place.group, trio.Lock()):
            if is_called_off():
                return True
            if not self._note_failure(place):
                log.error("group has failed too often and is stopped", group=place.group)
                others = members(place.group, self._containers)
                await self._stop_all([one for one in others if one is not failed])
                return False
            others = [c for c in concerned(failed, place, self._containers) if c.is_running]
            if others:
                log.warning(
                    "group restarts",
                    group=place.group,
                    failed=failed.name,
                    others=[other.name for other in others],
                )
                due = self._stopped.setdefault(failed.id, [])
                due += [other.id for other in others if other.id not in due]
                await self._stop_all(others)
        return True

    def bring_up(self, container: Container) -> None:
        """It runs again: those that were stopped for it start, soon."""
        if container.id in self._stopped:
            try:
                self._send.send_nowait(container)
            except trio.WouldBlock:
                log.error("group not started again", group_of=container.id)

    def _note_failure(self, place: Membership) -> bool:
        intensity, failures = self._failures.get(place.group, (None, None))
        if failures is None or intensity != place.intensity:
            failures = RestartLog(place.intensity)
            self._failures[place.group] = (place.intensity, failures)
        return failures.add(trio.current_time())

    async def _stop_all(self, containers: Sequence[Container]) -> None:
        for container in reversed(containers):
            if container.is_running:
                await self._stop(container)

    async def _start_again(self, container_id: str) -> None:
        """Unless it is gone, or a user has stopped or started it meanwhile."""
        container = next((one for one in self._containers if one.id == container_id), None)
        if (
            container is None
            or container.state is not State.EXITED
            or container.status.stopped_by_user
        ):
            return
        try:
            await self._start(container)
        except EngineError as error:
            log.error("member not started again", container=container_id, error=str(error))
