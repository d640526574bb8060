"""What a run holds of containerd, the network and the file system, and how each is given back.

Each step may find its part gone already. What a step cannot give back is told of, and reclaimed at
the next start of the daemon.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from signal import SIGKILL
from typing import Final

import trio
from loguru import logger

from services.containerd import Containerd
from services.containers.container import Container
from services.containers.joining import is_joined
from services.containers.mount_sources import MountSources
from services.containers.networking.naming import Naming
from services.containers.runs.burial import Burials
from services.containers.runs.oom import OomKills
from services.containers.runs.shm import SharedMemory
from services.containers.runs.slots import Slots, slots_for_processors
from services.containers.table import ContainerTable
from services.errors import EngineError, NotFound
from services.networks import Sandboxes

log = logger.bind(service="containers")

CLEANUP_LIMIT_S: Final = 10.0  # for each step

Step = Callable[[], Awaitable[None]]


class Holdings:
    """Gives back, at the end of a run or of a start that fails; launches take what is given."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        sandboxes: Sandboxes,
        naming: Naming,
        sources: MountSources,
        shm: SharedMemory,
        table: ContainerTable,
        oom_kills: OomKills,
        burials: Burials,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._containerd = containerd
        self._sandboxes = sandboxes
        self._naming = naming
        self._sources = sources
        self._shm = shm
        self._table = table
        self._oom_kills = oom_kills
        self._burials = burials
        self._disk = disk
        self._ends = Slots(slots_for_processors())

    async def clean_up(self, container: Container) -> None:
        """Give back all that an ended task held. Goes on past a failing step."""
        self._oom_kills.forget(container)
        steps = (
            partial(self._delete_task, container),
            partial(self.delete_record, container),
            partial(self._release_network, container),
            partial(self._sources.release, container),
            partial(self.drop_shm, container),
        )
        async with self._ends.slot():
            for step in steps:
                await _survive(container, step)

    async def release_ports(self, container: Container) -> None:
        """Let others have an ended task's ports on the host, and its names, before the rest."""
        self._naming.end(container.id)
        await _survive(container, partial(self._sandboxes.release_ports, container.id))

    async def undo_task(self, container: Container) -> None:
        """Take away the task of a start that failed; its process may run already."""
        self._oom_kills.forget(container)
        self._burials.note(container.id)
        await self._remove_task(container.id)

    async def delete_record(self, container: Container) -> None:
        """Take away containerd's container."""
        with suppress(NotFound):
            await self._containerd.containers.delete(container.id)

    async def remove_left(self, container_id: str) -> None:
        """Take away containerd's container and task of a run that could not be cleaned up."""
        with trio.move_on_after(CLEANUP_LIMIT_S), suppress(NotFound):
            await self._remove_task(container_id)
            await self._containerd.containers.delete(container_id)

    async def drop_shm(self, container: Container) -> None:
        """Drop the /dev/shm that the container has let others join."""
        if container.definition.host_config.ipc_mode == "shareable":
            drop = partial(self._shm.drop, container.id)
            await trio.to_thread.run_sync(drop, limiter=self._disk)

    async def _delete_task(self, container: Container) -> None:
        self._burials.note(container.id)
        with suppress(NotFound):
            await self._containerd.tasks.delete(container.id)

    async def _remove_task(self, container_id: str) -> None:
        with suppress(EngineError):
            await self._containerd.tasks.kill(container_id, SIGKILL)
            await self._containerd.tasks.wait(container_id)
        with suppress(NotFound):
            await self._containerd.tasks.delete(container_id)

    async def _release_network(self, container: Container) -> None:
        self._naming.end(container.id)
        held_by_others = is_joined(container.id, self._table)
        await self._sandboxes.release(container.id, held_by_others=held_by_others)


def push_undoing(undo: AsyncExitStack, container: Container, step: Step) -> None:
    """Have a step of a start undone, whatever else fails, unless the start succeeds."""
    undo.push_async_callback(_shielded, container, step)


async def _shielded(container: Container, step: Step) -> None:
    with trio.CancelScope(shield=True):
        await _survive(container, step)


async def _survive(container: Container, step: Step) -> None:
    try:
        with trio.fail_after(CLEANUP_LIMIT_S):
            await step()
    except (EngineError, OSError, trio.TooSlowError) as error:
        log.error("clean-up failed", container=container.id, error=repr(error))
