"""All that can be done with containers; what the API calls.

Each operation is a part of its own; this module only finds the container that a client names and
hands it on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from services.containerd import Containerd
from services.containers.added_mounts import AddedMounts
from services.containers.config import HostConfig
from services.containers.container import Container, ExitWaiter
from services.containers.create import Created, Creator
from services.containers.definitions import CreateRequest
from services.containers.execs.exec import Exec, ExecConfig
from services.containers.execs.execs import Execs
from services.containers.freeze import Freezer
from services.containers.joining import network_owner
from services.containers.journal import Journal, container_event
from services.containers.logs import Extent, LogReader
from services.containers.model import State
from services.containers.mount_sources import VolumeUse
from services.containers.networking.connections import Connector
from services.containers.networking.links import Links, split_link_name, unlinked
from services.containers.networking.naming import Naming
from services.containers.prune import Pruner
from services.containers.remove import Remover
from services.containers.rename import Renamer
from services.containers.runs.life import Lives
from services.containers.runs.run import Runs
from services.containers.sizes import Sizes
from services.containers.start import Starter
from services.containers.stats import Statistics
from services.containers.stop import Stopper
from services.containers.table import ContainerTable
from services.containers.terminals import Terminals
from services.containers.update import Updater
from services.errors import Conflict, NotModified
from services.measures import Counts, Durations

if TYPE_CHECKING:
    from services.containers.archives import Archives, RootFilesystems
    from services.containers.commit import Committer, ImageStore
    from services.containers.stdio import AttachedStreams

    class ImagesAndRoots(ImageStore, RootFilesystems, Protocol):
        """What is needed of the images service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A session, and how far the log reached when it began (None: nothing was logged yet)."""

    streams: AttachedStreams
    logged: Extent | None


class Containers:
    """The containers of this engine and the operations on them.

    Operations on one container are ordered; on different ones they never wait for each other.
    """

    def __init__(
        self,
        *,
        containerd: Containerd,
        table: ContainerTable,
        journal: Journal,
        runs: Runs,
        lives: Lives,
        creator: Creator,
        stopper: Stopper,
        remover: Remover,
        execs: Execs,
        terminals: Terminals,
        links: Links,
        connections: Connector,
        naming: Naming,
        statistics: Statistics,
        updater: Updater,
        freezer: Freezer,
        sizes: Sizes,
        pruner: Pruner,
        images: ImagesAndRoots,
        volumes: VolumeUse,
        probes: Counts,
        added_mounts: AddedMounts,
    ) -> None:
        self._containerd = containerd
        self.added_mounts: Final = added_mounts
        self.table = table
        self.actions: Final = Durations()  # of what succeeded, by dockerd's word for it
        self.probes: Final = probes  # of health checks, "ok" and "failed"
        self._journal = journal
        self._creator = creator
        self._stopper = stopper
        self._remover = remover
        self.execs = execs
        self.terminals = terminals
        self.links = links
        self.connections = connections
        self._renamer = Renamer(table=table, journal=journal, naming=naming)
        self._starter = Starter(runs=runs, lives=lives, remover=remover, actions=self.actions)
        self.statistics = statistics
        self.sizes = sizes
        self.pruner = pruner
        self._updater = updater
        self._freezer = freezer
        self._images, self._volumes = images, volumes

    # What nothing at a start asks for is made, and its modules imported, with the first use.

    @cached_property
    def archives(self) -> Archives:
        """Their files, copied in and out."""
        from services.containers.archives import Archives

        return Archives(self._images, self._volumes, self.tell, actions=self.actions)

    @cached_property
    def committer(self) -> Committer:
        """Makes images of them."""
        from services.containers.commit import Committer

        return Committer(
            archives=self.archives,
            images=self._images,
            journal=self._journal,
            hold=self._freezer.hold,
            let_go=self._freezer.let_go,
            actions=self.actions,
        )

    def count_states(self) -> dict[str, int]:
        """How many containers are running, paused and stopped; restarting ones count as running."""
        counts = {"running": 0, "paused": 0, "stopped": 0}
        for container in self.table:
            if container.state is State.PAUSED:
                counts["paused"] += 1
            else:
                counts["running" if container.is_running else "stopped"] += 1
        return counts

    def find(self, ref: str) -> Container:
        """The container that a client names. Raises as `ContainerTable.find`."""
        return self.table.find(ref)

    async def create(self, request: CreateRequest) -> Created:
        """Make a container. Raises as `Creator.create`."""
        with self.actions.timed("create"):
            return await self._creator.create(request)

    async def start(self, container: Container) -> None:
        """As `Starter.start`."""
        await self._starter.start(container)

    async def stop(
        self, container: Container, *, signal: str = "", grace_s: float | None = None
    ) -> None:
        """As `Stopper.stop`."""
        await container.settle()
        await self._stopper.stop(container, signal=signal, grace_s=grace_s)

    async def restart(
        self, container: Container, *, signal: str = "", grace_s: float | None = None
    ) -> None:
        """Stop a container if it runs, and start it."""
        await container.settle()
        if container.is_running:
            with suppress(NotModified):  # it ended by itself in the meantime
                await self._stopper.stop(container, signal=signal, grace_s=grace_s)
        await self.start(container)
        await self._journal.tell(container_event(container, "restart"))

    async def kill(self, container: Container, signal: str = "") -> None:
        """As `Stopper.kill`."""
        await container.settle()
        await self._stopper.kill(container, signal)

    async def pause(self, container: Container) -> None:
        """As `Freezer.pause`."""
        await self._freezer.pause(container)

    async def unpause(self, container: Container) -> None:
        """As `Freezer.unpause`."""
        await self._freezer.unpause(container)

    async def rename(self, container: Container, name: str) -> None:
        """As `Renamer.rename`."""
        await self._renamer.rename(container, name)

    async def update(self, container: Container, wanted: HostConfig) -> list[str]:
        """As `Updater.update`."""
        return await self._updater.update(container, wanted)

    async def remove(
        self, container: Container, *, force: bool = False, volumes: bool = False
    ) -> None:
        """As `Remover.remove`; its streams, log and execs are forgotten."""
        await container.settle()
        with self.actions.timed("delete"):
            await self._remover.remove(container, force=force, volumes=volumes)

    async def remove_link(self, ref: str) -> None:
        """Take away the link that `ref` ("parent/alias") names; both containers stay.

        Source: Engine API, DELETE /containers/{id} with `link`; moby, daemon/delete.go.

        Raises:
            EngineError: `ref` is the name of a container.
            NotFound: there is no such link.
        """
        self.find(ref)
        name, alias = split_link_name(ref)
        parent = self.find(name)
        async with parent.turn("the removal of a link"):
            definition = msgspec.structs.replace(parent.definition, links=unlinked(parent, alias))
            await self._journal.set_definition(parent, definition)
        await self.links.forget_host(parent, alias)

    async def resize(self, container: Container, *, width: int, height: int) -> None:
        """Tell the terminal its size in characters.

        Raises:
            Conflict: it does not run.
        """
        await container.settle()
        container.check_running()
        await self._containerd.tasks.resize_pty(container.id, width=width, height=height)
        attributes = {"height": str(height), "width": str(width)}
        await self._journal.tell(container_event(container, "resize", attributes))

    async def process_ids(self, container: Container) -> Sequence[int]:
        """The host's pids of all processes in a running container.

        Raises:
            Conflict: it does not run.
        """
        await container.settle()
        container.check_running()
        return [process.pid for process in await self._containerd.tasks.pids(container.id)]

    @asynccontextmanager
    async def waiter(self, container: Container, condition: str) -> AsyncIterator[ExitWaiter]:
        """Registered from the moment the block begins; see `Container.waiter`."""
        waiter = container.waiter(condition)
        try:
            yield waiter
        finally:
            container.forget_waiter(waiter)

    @asynccontextmanager
    async def attach(
        self, container: Container, *, stdin: bool, stdout: bool, stderr: bool
    ) -> AsyncIterator[Attached]:
        """Join a container's streams, those of the next run if it does not run.

        Raises:
            Conflict: it is paused, or waits for its restart.
        """
        await container.wait_restored()
        if container.state is State.PAUSED:
            raise Conflict(
                f"container {container.id} is paused, unpause the container before attach"
            )
        if container.state is State.RESTARTING:
            container.refuse_restarting()
        stdin = stdin and container.definition.config.open_stdin
        streams = self.terminals.streams(container)
        async with streams.attach(stdin=stdin, stdout=stdout, stderr=stderr) as attached:
            # No await since the session was joined: the log ends where the session begins.
            log = self.terminals.log(container)
            yield Attached(streams=attached, logged=log.feed.last if log else None)

    async def tell(self, container: Container, action: str) -> None:
        """Publish an event about a container that changes nothing of it."""
        await self._journal.tell(container_event(container, action))

    async def log_reader(self, container: Container) -> LogReader:
        """As `Terminals.log_reader`, once its log has what was written while no engine was there.

        Raises:
            DeadlineExceeded: as `Container.turn`.
        """
        await container.wait_restored()
        return self.terminals.log_reader(container)

    def places(self, container: Container) -> dict[str, str]:
        """Where the container's files lie on the host, by Docker's names."""
        return self.terminals.places(container, files_of=network_owner(container, self.table))

    async def create_exec(self, container: Container, config: ExecConfig) -> Exec:
        """As `Execs.create`."""
        await container.settle()
        return await self.execs.create(container, config)
