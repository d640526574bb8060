"""One container's record brought to agree with containerd, whose word is the truth.

`restore` has the table of what becomes of what.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from loguru import logger

from services.containerd import Containerd, ContainerRecord, TaskInfo, TaskStatus
from services.containers.container import Container
from services.containers.joining import is_joined
from services.containers.journal import Journal, container_event
from services.containers.lifecycle import LifeEvent, next_state
from services.containers.model import State
from services.containers.mount_sources import MountSources
from services.containers.networking.endpoint_labels import recorded_endpoints
from services.containers.networking.links import Links
from services.containers.networking.naming import Naming
from services.containers.networking.settings import endpoints_of, ids_of
from services.containers.restoring.found_task import task_of
from services.containers.restoring.freezes import Freezes
from services.containers.restoring.reclaim import Reclaimer
from services.containers.runs.life import Lives
from services.containers.runs.started import record_started
from services.containers.runs.task_exits import UNKNOWN_EXIT_CODE
from services.containers.table import ContainerTable
from services.containers.terminals import Terminals
from services.networks import Sandboxes

log = logger.bind(service="containers")


class Comparer:
    """Adopts tasks that run, and records the loss of those that do not."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        table: ContainerTable,
        journal: Journal,
        lives: Lives,
        sandboxes: Sandboxes,
        naming: Naming,
        sources: MountSources,
        terminals: Terminals,
        links: Links,
        freezes: Freezes,
        reclaimer: Reclaimer,
        boot_id: str,
        finish_connects: Callable[[Container], Awaitable[None]],
    ) -> None:
        self._containerd = containerd
        self._table = table
        self._journal = journal
        self._lives = lives
        self._sandboxes = sandboxes
        self._naming = naming
        self._sources = sources
        self._terminals = terminals
        self._links = links
        self._freezes = freezes
        self._reclaimer = reclaimer
        self._boot_id = boot_id
        self._finish_connects = finish_connects

    def adopt_addresses(self, container: Container) -> None:
        """Have what its record says that it has of its networks, and nobody else."""
        status = container.status
        endpoints = endpoints_of(status.networks, status.places)
        self._sandboxes.adopt(container.id, endpoints, status.ports)
        self._naming.note(container)

    def is_of_another_boot(self, container: Container) -> bool:
        """Whether it was to run when the machine went down: whatever has its pid now is not it."""
        began = container.status.boot_id
        return container.is_running and began not in ("", self._boot_id)

    async def compare(
        self, container: Container, record: ContainerRecord | None, task: TaskInfo | None
    ) -> bool:
        """Make our record agree with containerd; whether the container was lost.

        `record` is what containerd has of it, `task` what it says of its task if that is known. The
        caller has the container's turn.

        Raises:
            EngineError: containerd is away, or what runs cannot be followed.
        """
        if self.is_of_another_boot(container):
            await self._record_lost(container)
            return True  # what containerd may still have of it is reclaimed
        looks_alive = record is not None or container.is_running
        if task is None and looks_alive:
            task = await task_of(self._containerd.tasks, container)
        if task is not None and (
            task.status is TaskStatus.CREATED
            or (task.status is TaskStatus.STOPPED and not container.state.has_task)
        ):
            await self._reclaimer.take_away(container.id)
            task = None
        if task is not None:
            await self._adopt(container, task, record)
            return False
        was_running = container.is_running
        if was_running:
            await self._record_lost(container)
        return was_running

    async def _adopt(
        self, container: Container, task: TaskInfo, record: ContainerRecord | None
    ) -> None:
        """Follow a task that ran while we were away; of one that has ended the exit is heard."""
        if not container.state.has_task:
            await self._record_start(container, task, record)
        await self._freezes.correct(container, task)
        await self._finish_connects(container)
        await self._naming.adopt(container, self._sandboxes.namespace(container.id, task.pid))
        self._sources.adopt(container)
        await self._lives.begin(container)
        self._terminals.streams(container).process_started()
        await self._links.tell_parents(container)  # the daemon may have been killed before that
        log.info("container adopted", container=container.id, pid=task.pid)

    async def _record_start(
        self, container: Container, task: TaskInfo, record: ContainerRecord | None
    ) -> None:
        """The daemon was killed after the task was started and before that was recorded."""
        labels = record.labels if record is not None else {}
        endpoints, places = recorded_endpoints(labels, container.definition.networks)
        await record_started(
            self._journal,
            container,
            next_state(container.state, LifeEvent.STARTED),
            pid=task.pid,
            boot_id=self._boot_id,
            networks=endpoints,
            places=places,
            now_ns=time.time_ns(),
        )
        self.adopt_addresses(container)
        self._sandboxes.settle()

    async def _record_lost(self, container: Container) -> None:
        """It ran, and containerd knows nothing of it: the machine was restarted, most likely."""
        was_waiting = container.state is State.RESTARTING
        now_ns = time.time_ns()
        gone = next_state(container.state, LifeEvent.LOST)
        changes: dict[str, Any] = {"state": gone, "pid": 0, "networks": {}, "ports": []}
        changes |= {"places": {}, "loose": {}}
        changes["network_ids"] = ids_of(container.status.networks) or container.status.network_ids
        if was_waiting:
            # The restart that was counted has not been made.
            count = max(0, container.status.restart_count - 1)
            await self._journal.change_status(container, restart_count=count, **changes)
            return
        changes |= {"exit_code": UNKNOWN_EXIT_CODE, "finished_at_ns": now_ns}
        attributes = {"exitCode": str(UNKNOWN_EXIT_CODE)}
        event = container_event(container, "die", attributes, time_ns=now_ns)
        await self._journal.change_status(container, event, **changes)
        self._naming.end(container.id)
        held_by_others = is_joined(container.id, self._table)
        await self._sandboxes.release(container.id, held_by_others=held_by_others)
        log.warning("container was gone", container=container.id)
