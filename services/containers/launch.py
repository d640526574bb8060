"""From a definition to a running task, and back.

While runc makes the container its links are made; both must have succeeded before its process
starts. Each step pushes its undoing, so a start that fails leaves what it found.

Killed at any step, the next daemon finds a containerd container with our label and no record of a
run (taken away), or a task that runs (adopted); a namespace without a task is dropped.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import Final, Protocol

import msgspec
import trio
from loguru import logger

from services.containerd import Containerd, ContainerRecord, Mount, RuncOptions
from services.containers.burial import Burials
from services.containers.container import Container
from services.containers.endpoint_labels import labels_of
from services.containers.joining import Joined, Joiner, is_joined
from services.containers.journal import Journal, network_events
from services.containers.lifecycle import LifeEvent, next_state
from services.containers.links import Links
from services.containers.model import State
from services.containers.mount_sources import MountSources
from services.containers.naming import Naming
from services.containers.networking import (
    NetworkNames,
    ids_of,
    settings_by_network,
    wanted_endpoints,
)
from services.containers.oom import OomKills
from services.containers.published import wanted_ports
from services.containers.run import Run
from services.containers.shm import SharedMemory
from services.containers.slots import Slots, slots_for_processors
from services.containers.spec_source import SpecSource, Surroundings
from services.containers.start_errors import (
    exit_code_of_failed_start,
    is_users_mistake,
    text_of_failed_start,
)
from services.containers.started import record_started
from services.containers.table import ContainerTable
from services.errors import (
    Conflict,
    DeadlineExceeded,
    EngineError,
    InvalidParameter,
    NotFound,
    single_error,
)
from services.networks import Endpoint, Sandbox, Sandboxes

log = logger.bind(service="containers")

OWNER_LABEL: Final = "io.wharfinger.engine"
"""On each containerd container of ours, with the engine's id: what a crash may have left."""

KILLED_EXIT_CODE: Final = 137
NO_NETWORKING: Final = "failed to set up container networking"

START_LIMIT_S: Final = 120.0
CLEANUP_LIMIT_S: Final = 10.0  # for each step

_Made = tuple[int, Callable[[], Awaitable[int]]]
"""A created task's pid, and what creates it anew should it be taken away before its start."""

SHM: Final = "/dev/shm"  # noqa: S108 - a path in the container


class RootFilesystems(Protocol):
    """What a launch needs of the images service."""

    async def rootfs_mounts(self, key: str) -> Sequence[Mount]:
        """The mounts that make up a container's root file system."""


class Runtimes(Protocol):
    """The runtimes that this daemon knows."""

    def resolve(self, name: str) -> tuple[str, RuncOptions | None]:
        """containerd's name of a runtime and its options."""


class TaskLauncher:
    """Makes and unmakes what a task needs of containerd, the network and the file system."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        journal: Journal,
        networks: NetworkNames,
        sandboxes: Sandboxes,
        naming: Naming,
        root_filesystems: RootFilesystems,
        specs: SpecSource,
        sources: MountSources,
        runtimes: Runtimes,
        table: ContainerTable,
        joiner: Joiner,
        links: Links,
        shm: SharedMemory,
        engine_id: str,
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
        self._root_filesystems = root_filesystems
        self._specs = specs
        self._sources = sources
        self._runtimes = runtimes
        self._table = table
        self._joiner = joiner
        self._links = links
        self._shm = shm
        self._engine_id = engine_id
        self._boot_id = boot_id
        self._oom_kills = oom_kills
        self._burials = burials
        self._disk = disk
        self._starts = Slots(slots_for_processors())
        self._ends = Slots(slots_for_processors())

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
            failure = _start_error(error)
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
                remove = partial(self._undo_task, container)
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

    async def clean_up(self, container: Container) -> None:
        """Give back all that an ended task held. Goes on past a failing step."""
        self._oom_kills.forget(container)
        steps = (
            partial(self._delete_task, container),
            partial(self._delete_record, container),
            partial(self._release_network, container),
            partial(self._sources.release, container),
            partial(self._drop_shm, container),
        )
        async with self._ends.slot():
            for step in steps:
                await self._survive(container, step)

    async def release_ports(self, container: Container) -> None:
        """Let others have an ended task's ports on the host, and its names, before the rest."""
        self._naming.end(container.id)
        await self._survive(container, partial(self._sandboxes.release_ports, container.id))

    async def was_oom_killed(self, container: Container, *, exit_code: int) -> bool:
        """Whether the kernel killed a process of the container's cgroup. False if not known."""
        with suppress(ValueError):
            count = partial(self._oom_kills.kills, container)
            if await trio.to_thread.run_sync(count, limiter=self._disk) > 0:
                return True
            is_surprise = exit_code == KILLED_EXIT_CODE and not container.status.stopped_by_user
            return is_surprise and self._oom_kills.take_unknown(container) > 0
        return False

    def follow_memory(self, container: Container) -> None:
        """See the kernel's OOM kills in an adopted container's cgroup from now on."""
        self._oom_kills.follow(container)

    async def _make_task(self, run: Run, undo: AsyncExitStack, endpoints: list[Endpoint]) -> _Made:
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
            return await self._create_task(run, around, has_namespace, undo)
        sandbox = await self._reserve(container)
        undo.push_async_callback(
            self._shielded, container, partial(self._sandboxes.release, container.id)
        )
        undo.callback(self._naming.end, container.id)
        await self._record_ports(container, sandbox)
        around = dataclasses.replace(around, sandbox=sandbox)
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._connect, container, sandbox, has_namespace)
                endpoints += sandbox.endpoints
                return await self._create_task(run, around, has_namespace, undo)

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
        undo.push_async_callback(self._shielded, container, partial(self._drop_shm, container))
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

    async def _create_task(
        self, run: Run, around: Surroundings, has_namespace: trio.Event, undo: AsyncExitStack
    ) -> _Made:
        container = run.container
        undo.push_async_callback(
            self._shielded, container, partial(self._sources.release, container)
        )
        await self._sources.acquire(container)
        async with self._sources.opened(container) as mounts:
            around = dataclasses.replace(around, mounts=mounts)
            return await self._create_task_in(run, around, has_namespace, undo)

    async def _create_task_in(
        self, run: Run, around: Surroundings, has_namespace: trio.Event, undo: AsyncExitStack
    ) -> _Made:
        container, paths = run.container, run.stdio.paths
        rootfs = await self._root_filesystems.rootfs_mounts(container.id)
        spec = await self._specs.container_spec(container, rootfs, around)
        runtime, options = self._runtimes.resolve(container.definition.runtime)
        record = ContainerRecord(
            id=container.id,
            image=container.definition.image_id,
            spec=spec,
            runtime_name=runtime,
            runtime_options=options,
            snapshotter=container.definition.snapshotter,
            snapshot_key=container.id,
            labels={OWNER_LABEL: self._engine_id, **_labels_of(around.sandbox)},
        )
        undo.push_async_callback(self._shielded, container, partial(self._delete_record, container))
        await self._create_record(record)
        undo.push_async_callback(self._shielded, container, partial(self._undo_task, container))
        await has_namespace.wait()
        create = partial(
            self._containerd.tasks.create,
            container.id,
            rootfs=rootfs,
            stdin=paths.stdin,
            stdout=paths.stdout,
            stderr=paths.stderr,
            terminal=container.definition.config.tty,
            options=options,
        )
        remove = partial(self._undo_task, container)
        return await self._burials.create(container.id, create, remove=remove), create

    async def _create_record(self, record: ContainerRecord) -> None:
        """Anew if need be: containerd may have been away when the last run was cleaned up."""
        try:
            await self._containerd.containers.create(record)
        except Conflict:
            log.warning("what the last run left is taken away", container=record.id)
            with trio.move_on_after(CLEANUP_LIMIT_S), suppress(NotFound):
                await self._remove_task(record.id)
                await self._containerd.containers.delete(record.id)
            await self._containerd.containers.create(record)

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

    async def _delete_task(self, container: Container) -> None:
        self._burials.note(container.id)
        with suppress(NotFound):
            await self._containerd.tasks.delete(container.id)

    async def _undo_task(self, container: Container) -> None:
        """A task of a start that failed; its process may run already."""
        self._oom_kills.forget(container)
        self._burials.note(container.id)
        await self._remove_task(container.id)

    async def _remove_task(self, container_id: str) -> None:
        with suppress(EngineError):
            await self._containerd.tasks.kill(container_id, SIGKILL)
            await self._containerd.tasks.wait(container_id)
        with suppress(NotFound):
            await self._containerd.tasks.delete(container_id)

    async def _delete_record(self, container: Container) -> None:
        with suppress(NotFound):
            await self._containerd.containers.delete(container.id)

    async def _release_network(self, container: Container) -> None:
        self._naming.end(container.id)
        held_by_others = is_joined(container.id, self._table)
        await self._sandboxes.release(container.id, held_by_others=held_by_others)

    async def _drop_shm(self, container: Container) -> None:
        if container.definition.host_config.ipc_mode == "shareable":
            drop = partial(self._shm.drop, container.id)
            await trio.to_thread.run_sync(drop, limiter=self._disk)

    async def _shielded(self, container: Container, step: Callable[[], Awaitable[None]]) -> None:
        with trio.CancelScope(shield=True):
            await self._survive(container, step)

    async def _survive(self, container: Container, step: Callable[[], Awaitable[None]]) -> None:
        """One step of a clean-up: what it leaves is reclaimed at the next start of the daemon."""
        try:
            with trio.fail_after(CLEANUP_LIMIT_S):
                await step()
        except (EngineError, OSError, trio.TooSlowError) as error:
            log.error("clean-up failed", container=container.id, error=repr(error))


@contextmanager
def _start_limit(container: Container) -> Iterator[None]:
    with trio.move_on_after(START_LIMIT_S) as limit:
        yield
    if limit.cancelled_caught:
        raise DeadlineExceeded(f"container {container.name} did not start in time")


def _labels_of(sandbox: Sandbox | None) -> dict[str, str]:
    return labels_of(sandbox.endpoints) if sandbox is not None else {}


def _start_error(error: EngineError | OSError) -> EngineError:
    """containerd's words in dockerd's frame; 400 when the command is at fault.

    What the kernel refuses (a link, a file on a full disk) is told to the client as it stands.
    """
    if isinstance(error, OSError):
        return EngineError(f"the container could not be set up: {error.strerror or error}")
    message = str(error)
    if "OCI runtime" not in message:
        return error
    framed = text_of_failed_start(message, "task")
    return InvalidParameter(framed) if is_users_mistake(message) else EngineError(framed)


def container_directory(data_root: Path, container_id: str) -> Path:
    """Where a container's files and logs lie."""
    return data_root / "containers" / container_id
