"""What a member's failure does to its group: others stop before it restarts, and start after it.

A failure is an end after which the member's own restart policy starts it again. The others are
stopped as by the engine, not as by a user. For whom they are stopped is in their records before the
first one is: should the engine be killed in between, the next one goes on with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol

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


class Journal(Protocol):
    """What is needed of the journal."""

    async def change_status(self, container: Container, **changes: Any) -> None:
        """On disk. Raises EngineError."""

    async def change_in_memory(self, container: Container, **changes: Any) -> None:
        """Not on disk."""


class Groups:
    """The groups of all containers. `run` is a supervised child."""

    def __init__(
        self,
        containers: Iterable[Container],
        *,
        journal: Journal,
        stop: Stop,
        start: Callable[[Container], Awaitable[None]],
    ) -> None:
        self._containers, self._journal, self._stop, self._start = containers, journal, stop, start
        self._turns: dict[str, trio.Lock] = {}
        self._failures: dict[str, tuple[Intensity, RestartLog]] = {}
        self._send, self._receive = trio.open_memory_channel[Container](BACKLOG)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start what was stopped, group after group, each in its order. Until cancelled."""
        task_status.started()
        for container in [one for one in self._containers if one.state.has_task]:
            self.bring_up(container)  # what this task's predecessor may have begun
        async for container in self._receive:
            for other in self._stopped_for(container):
                await self._start_again(other)

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
                for other in others:
                    await self._note_stopped(other, failed)
                await self._stop_all(others)
        return True

    def bring_up(self, container: Container) -> None:
        """It runs again: those that were stopped for it start, soon."""
        if self._stopped_for(container):
            try:
                self._send.send_nowait(container)
            except trio.WouldBlock:
                log.error("group not started again", group_of=container.id)

    async def stop_rest(self, containers: Sequence[Container]) -> None:
        """Stop those that an earlier daemon was about to stop for another's failure."""
        ids = {container.id for container in containers}
        groups = {place.group for one in containers if (place := membership(one)) is not None}
        for group in sorted(groups):
            await self._stop_all([c for c in members(group, self._containers) if c.id in ids])

    def forget(self, container: Container) -> None:
        """It is removed; with the last member goes what is known of the group."""
        place = membership(container)
        if place is None or members(place.group, self._containers):
            return
        self._failures.pop(place.group, None)
        turn = self._turns.get(place.group)
        if turn is not None and not turn.locked():
            del self._turns[place.group]

    def _stopped_for(self, failed: Container) -> list[Container]:
        """Who is to start after a member, in order."""
        place = membership(failed)
        if place is None:
            return []
        group = members(place.group, self._containers)
        return [one for one in group if one.status.stopped_for == failed.id]

    async def _note_stopped(self, container: Container, failed: Container) -> None:
        try:
            await self._journal.change_status(container, stopped_for=failed.id)
        except EngineError as error:  # a full disk must not keep a group down
            log.warning("stop for a group not noted", container=container.id, error=str(error))
            await self._journal.change_in_memory(container, stopped_for=failed.id)

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

    async def _start_again(self, container: Container) -> None:
        """Unless a user has stopped or started it meanwhile."""
        if container.state is not State.EXITED or container.status.stopped_by_user:
            return
        try:
            await self._start(container)
        except EngineError as error:
            log.error("member not started again", container=container.id, error=str(error))
