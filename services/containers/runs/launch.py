"""From a definition to a running task.

While runc makes the container its links are made; both must have succeeded before its process
starts. Each step pushes its undoing, so a start that fails leaves what it found.

Killed at any step, the next daemon finds a containerd container with our label and no record of a
run (taken away), or a task that runs (adopted); a namespace without a task is dropped.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Final

import msgspec
import trio
from loguru import logger

from services.containerd import Containerd
from services.containers.container import Container
from services.containers.joining import Joined, Joiner
from services.containers.journal import Journal, network_events
from services.containers.lifecycle import LifeEvent, next_state
from services.containers.model import State
from services.containers.networking.links import Links
from services.containers.networking.naming import Naming
from services.containers.networking.published import wanted_ports
from services.containers.networking.settings import (
    NetworkNames,
    ids_of,
    settings_by_network,
    wanted_endpoints,
)
from services.containers.runs.burial import Burials
from services.containers.runs.holdings import Holdings, push_undoing
from services.containers.runs.oom import OomKills
from services.containers.runs.run import Run
from services.containers.runs.shm import SharedMemory
from services.containers.runs.slots import Slots, slots_for_processors
from services.containers.runs.start_errors import exit_code_of_failed_start, start_error
from services.containers.runs.started import record_started
from services.containers.runs.task_making import MadeTask, TaskMaker
from services.containers.spec_source import Surroundings
from services.errors import DeadlineExceeded, EngineError, single_error
from services.networks import Endpoint, Sandbox, Sandboxes

log = logger.bind(service="containers")

NO_NETWORKING: Final = "failed to set up container networking"

START_LIMIT_S: Final = 120.0

SHM: Final = "/dev/shm"  # noqa: S108 - a path in the container


class TaskLauncher:
    """Makes what a task needs of the network and the file system, the task, and starts it."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        journal: Journal,
        networks: NetworkNames,
        sandboxes: Sandboxes,
        naming: Naming,
        joiner: Joiner,
        links: Links,
        shm: SharedMemory,
        maker: TaskMaker,
        holdings: Holdings,
        boot_id: str,
        oom_kills: OomKills,
        burials: Burials,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._containerd = containerd
        self._journal = journal
        self._networks = networks
        self._sandboxes = sandboxes
        self._naming = naming
        self._joiner = joiner
        self._links = links
        self._shm = shm
        self._maker = maker
        self._holdings = holdings
        self._boot_id = boot_id
        self._oom_kills = oom_kills
        self._burials = burials
        self._disk = disk
        self._starts = Slots(slots_for_processors())

    async def launch(self, run: Run) -> None:
        """Start the container's task and record it; a failure is recorded, and leaves nothing.

        Raises:
            InvalidParameter: the command cannot be started, or the definition asks the impossible.
            DeadlineExceeded: it took longer than START_LIMIT_S, the wait for its slot not counted.
            EngineError: containerd or the kernel refused.
        """
        container = run.container
        running = next_state(container.state, LifeEvent.STARTED)
        endpoints: list[Endpoint] = []
        try:
            async with self._starts.slot():
                with _start_limit(container):
                    await self._launch(run, running, endpoints)
        except (EngineError, OSError) as error:
            failure = start_error(error)
            await self._record_failure(container, failure, endpoints)
            raise failure from error
        await self._links.tell_parents(container)

    async def _launch(self, run: Run, running: State, endpoints: list[Endpoint]) -> None:
        container = run.container
        await self._burials.wait(container.id)
        async with AsyncExitStack() as undo:
            with run.stdio.held_open():
                pid, create = await self._make_task(run, undo, endpoints)
                self._oom_kills.follow(container)
                now_ns = time.time_ns()  # before: a short process ends before the call does
                start = partial(self._containerd.tasks.start, container.id)
                remove = partial(self._holdings.undo_task, container)
                new_pid = await self._burials.start(
                    container.id, start, create=create, remove=remove
                )
                if new_pid:
                    self._oom_kills.follow(container)
                run.stdio.process_started()
            await self._record_start(
                container, running, pid=new_pid or pid, endpoints=endpoints, now_ns=now_ns
            )
            undo.pop_all()

    async def _make_task(
        self, run: Run, undo: AsyncExitStack, endpoints: list[Endpoint]
    ) -> MadeTask:
        """Into `endpoints` goes what the container gets of its networks."""
        container = run.container
        joined = self._joiner.join(container)
        linked = self._links.at_start(container)
        joined = await self._own_shm(container, joined, undo)
        around = Surroundings(joined=joined, linked=linked)
        has_namespace = trio.Event()
        if joined.network is not None:
            await self._take_names(container, joined.network)
            has_namespace.set()
            return await self._maker.create(run, around, has_namespace, undo)
        sandbox = await self._reserve(container)
        push_undoing(undo, container, partial(self._sandboxes.release, container.id))
        undo.callback(self._naming.end, container.id)
        await self._record_ports(container, sandbox)
        around = dataclasses.replace(around, sandbox=sandbox)
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._connect, container, sandbox, has_namespace)
                endpoints += sandbox.endpoints
                return await self._maker.create(run, around, has_namespace, undo)

    async def _connect(
        self, container: Container, sandbox: Sandbox, has_namespace: trio.Event
    ) -> None:
        await self._sandboxes.connect(sandbox, has_namespace.set)
        await self._naming.begin(container, sandbox.endpoints, sandbox.netns)

    async def _own_shm(self, container: Container, joined: Joined, undo: AsyncExitStack) -> Joined:
        """With a /dev/shm to share, unless the container has another mount there."""
        definition = container.definition
        taken = {mount.destination for mount in definition.mounts}
        taken |= set(definition.host_config.tmpfs or ())
        if definition.host_config.ipc_mode != "shareable" or SHM in taken:
            return joined
        make = partial(self._shm.make, container.id, definition.host_config.shm_size)
        push_undoing(undo, container, partial(self._holdings.drop_shm, container))
        path = await trio.to_thread.run_sync(make, limiter=self._disk)
        return dataclasses.replace(joined, shm_path=str(path))

    async def _take_names(self, container: Container, other: Container) -> None:
        """A container in the network of another one has its host name, as inspect shows."""
        names = other.definition.config
        definition = container.definition
        config = msgspec.structs.replace(
            definition.config, hostname=names.hostname, domainname=names.domainname
        )
        if config != definition.config:
            changed = msgspec.structs.replace(definition, config=config)
            await self._journal.set_definition(container, changed)

    async def _reserve(self, container: Container) -> Sandbox:
        definition = container.definition
        try:
            return await self._sandboxes.reserve(
                container.id,
                wanted_endpoints(definition, self._networks),
                ports=wanted_ports(definition),
                name=container.name,
            )
        except EngineError as error:
            if str(error).startswith(NO_NETWORKING):
                raise
            raise type(error)(f"{NO_NETWORKING}: {error}") from error

    async def _record_ports(self, container: Container, sandbox: Sandbox) -> None:
        """On disk before the task is there: a daemon that finds it running knows its ports."""
        if sandbox.ports or container.status.ports:
            await self._journal.change_status(container, ports=list(sandbox.ports))

    async def _record_start(
        self,
        container: Container,
        state: State,
        *,
        pid: int,
        endpoints: Sequence[Endpoint],
        now_ns: int,
    ) -> None:
        # The task runs: whoever asked for it may have left, its record must be written.
        networks, places = settings_by_network(container.definition, endpoints)
        with trio.CancelScope(shield=True):
            await record_started(
                self._journal,
                container,
                state,
                pid=pid,
                boot_id=self._boot_id,
                networks=networks,
                places=places,
                now_ns=now_ns,
            )
        log.info("container started", container=container.id, pid=pid)

    async def _record_failure(
        self, container: Container, error: EngineError, endpoints: Sequence[Endpoint]
    ) -> None:
        # dockerd's networking comes first, so it tells of that even when there is no start.
        now_ns = time.time_ns()
        networks, places = settings_by_network(container.definition, endpoints)
        await self._journal.change_status(
            container,
            *network_events(container, networks, places, "connect", time_ns=now_ns),
            *network_events(container, networks, places, "disconnect", time_ns=now_ns),
            network_ids=ids_of(networks) or container.status.network_ids,
            error=str(error),
            exit_code=exit_code_of_failed_start(str(error)),
        )


@contextmanager
def _start_limit(container: Container) -> Iterator[None]:
    with trio.move_on_after(START_LIMIT_S) as limit:
        yield
    if limit.cancelled_caught:
        raise DeadlineExceeded(f"container {container.name} did not start in time")
