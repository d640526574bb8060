"""What containerd does about a shim that has gone, and a start of the same container beside it.

containerd 1.6 takes away what a shim leaves behind by the container's id: its bundle, and with
`runc delete --force` whatever runs under that id. It does so a moment after the shim's end, also
after an orderly one; a container that is started again in that moment can lose its process before
that has run a single instruction of its own.

So a start that comes soon after an end waits until the old shim is gone; and one whose process was
taken away before its beginning is tried again. Neither can happen to a container for which no task
ended lately: what fails there is told at once.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, Protocol

import trio
from loguru import logger

from services.errors import EngineError, NotFound

log = logger.bind(service="containers")

BUNDLE_LIMIT_S: Final = 15.0
BUNDLE_AGAIN_S: Final = 0.2
_BUNDLE_THERE: Final = re.compile(r"failed to start shim: mkdir \S+: file exists")

RECENT_S: Final = 10.0
"""For so long after an end containerd may still be about to bury: it is given as many seconds."""

SHIM_LIMIT_S: Final = 3.0
SHIM_AGAIN_S: Final = 0.01
JUST_S: Final = 0.2
SETTLE_S: Final = 0.02
"""containerd hears of a shim's end by its connection, and looks for the bundle at once."""

TRIES: Final = 3

# What runc says when its container was deleted beside it. The process has not run.
_TAKEN_AWAY: Final = re.compile(
    r"unable to store init state"
    r"|cannot start a stopped process"
    r"|cannot start a container that has stopped"
    r"|container does not exist"
    r"|error during container init: (?:unknown|EOF|read init-p: )"
    r"|(?:config\.json|init\.pid|state\.json|exec\.fifo): no such file or directory"
)


class Shims(Protocol):
    """The shims that run on this host. Both block."""

    def find(self) -> Mapping[str, int]:
        """Their pids by container id; also those that only clean up."""

    def end(self, container_id: str, pid: int) -> bool:
        """Kill one with what it has started."""


class Burials:
    """Knows of which containers a task has ended lately."""

    def __init__(self, shims: Shims, *, disk: trio.CapacityLimiter) -> None:
        self._shims = shims
        self._disk = disk
        self._ended: dict[str, float] = {}  # on trio's clock, in the order of the ends

    def note(self, container_id: str) -> None:
        """A task of the container was taken away."""
        now = trio.current_time()
        self._ended.pop(container_id, None)
        self._ended[container_id] = now
        while self._ended and next(iter(self._ended.values())) < now - RECENT_S:
            del self._ended[next(iter(self._ended))]

    async def wait(self, container_id: str) -> None:
        """Before a start: let the shim of the last run go. Bounded; no wait long after an end."""
        if not self._is_recent(container_id):
            return
        just_ended = trio.current_time() - self._ended[container_id] < JUST_S
        with trio.move_on_after(SHIM_LIMIT_S):
            while container_id in await trio.to_thread.run_sync(
                self._shims.find, limiter=self._disk
            ):
                just_ended = True
                await trio.sleep(SHIM_AGAIN_S)
            if just_ended:
                await trio.sleep(SETTLE_S)

    async def create(
        self,
        container_id: str,
        create: Callable[[], Awaitable[int]],
        *,
        remove: Callable[[], Awaitable[None]],
    ) -> int:
        """Create a task, again if it was taken away meanwhile; its pid.

        `remove` takes away what a try has left.
        """
        for left in reversed(range(TRIES)):
            try:
                return await _once_free(create)
            except EngineError as error:
                if not left or not self.has_hit(container_id, error):
                    raise
            await self._clear(container_id, remove)
        raise AssertionError("the last try returns or raises")

    async def start(
        self,
        container_id: str,
        start: Callable[[], Awaitable[object]],
        *,
        create: Callable[[], Awaitable[int]],
        remove: Callable[[], Awaitable[None]],
    ) -> int | None:
        """Start a task, anew if it was taken away before its beginning: then its new pid."""
        pid: int | None = None
        for left in reversed(range(TRIES)):
            try:
                await start()
            except EngineError as error:
                if not left or not self.has_hit(container_id, error):
                    raise
            else:
                return pid
            await self._clear(container_id, remove)
            pid = await self.create(container_id, create, remove=remove)
        raise AssertionError("the last try returns or raises")

    def has_hit(self, container_id: str, error: EngineError) -> bool:
        """Whether a start may have failed by the burial of the run before."""
        if not self._is_recent(container_id):
            return False
        return isinstance(error, NotFound) or bool(_TAKEN_AWAY.search(str(error)))

    async def _clear(self, container_id: str, remove: Callable[[], Awaitable[None]]) -> None:
        log.warning("start buried with the last run", container=container_id)
        await remove()
        # One that containerd has forgotten with the burial holds the bundle, and runs for ever.
        found = await trio.to_thread.run_sync(self._shims.find, limiter=self._disk)
        if container_id in found:
            end = partial(self._shims.end, container_id, found[container_id])
            await trio.to_thread.run_sync(end, limiter=self._disk)
        self.note(container_id)
        await self.wait(container_id)

    def _is_recent(self, container_id: str) -> bool:
        ended_at = self._ended.get(container_id)
        return ended_at is not None and trio.current_time() - ended_at <= RECENT_S


async def _once_free(create: Callable[[], Awaitable[int]]) -> int:
    """Make a task once containerd has taken away the bundle of a create that was cut off.

    A daemon that is killed in that call leaves containerd at it when the next one asks again.
    """
    deadline = trio.current_time() + BUNDLE_LIMIT_S
    while True:
        try:
            return await create()
        except EngineError as error:
            if not _BUNDLE_THERE.search(str(error)) or trio.current_time() > deadline:
                raise
        await trio.sleep(BUNDLE_AGAIN_S)
