"""Copying files into and out of containers, exporting them, telling what changed in them.

All file system work is done in threads of a limiter of its own; what crosses to the loop are pieces
of bounded size, and a slow client holds its thread and nothing else.

Source: Engine API, /containers/{id}/archive, /export, /changes; moby, daemon/archive_unix.go.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

import trio

from services.containerd import Mount
from services.containers import spec
from services.containers.container import Container
from services.containers.model import State
from services.containers.mount_sources import VolumeUse
from services.containers.volume_points import volume_names
from services.errors import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidParameter,
    NotFound,
    single_error,
)
from services.images.compression import ExpansionLimits, PlainStream
from services.images.inbox import open_inbox, take_body
from services.images.ports import Body
from services.measures import Durations

from .changes import Change, Trees, changes, has_changes
from .pack import pack
from .root import PLACE, Root
from .stat import PathStat, absolute, base_name, followed, stat_path
from .unpack import Rules, unpack
from .view import (
    Layers,
    layers_of,
    open_directory,
    open_layers,
    open_running,
    open_to_read,
    open_to_write,
)

T = TypeVar("T")

THREADS: Final = 8
PIECES_AHEAD: Final = 4
CLEANUP_S: Final = 10.0
_DRAIN_BYTES: Final = 1 << 20

Tell = Callable[[Container, str], Awaitable[None]]
"""Publishes an event about a container that changes nothing of it."""


class RootFilesystems(Protocol):
    """What is needed of the images service."""

    async def rootfs_mounts(self, key: str) -> Sequence[Mount]:
        """The mounts that make up a container's root file system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyIn:
    """Where an archive goes. `as_user`: what it brings belongs to the container's user."""

    path: str
    keeps_directories: bool = False
    as_user: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOut:
    """What is copied, and the tar of it as it is made."""

    stat: PathStat
    pieces: trio.MemoryReceiveChannel[bytes]


class Archives:
    """The files of containers, running or not."""

    def __init__(
        self,
        root_filesystems: RootFilesystems,
        volumes: VolumeUse,
        tell: Tell,
        *,
        actions: Durations,
    ) -> None:
        self._root_filesystems = root_filesystems
        self._volumes = volumes
        self._tell = tell
        self._actions = actions
        self._threads = trio.CapacityLimiter(THREADS)

    async def stat(self, container: Container, path: str) -> PathStat:
        """What is at `path`.

        Raises:
            NotFound: nothing, or the way there leads nowhere.
        """
        async with self._readable(container) as root:
            with _file_errors(container, path):
                return await self._run(partial(stat_path, root, absolute(path)))

    @asynccontextmanager
    async def copy_out(self, container: Container, path: str) -> AsyncIterator[CopyOut]:
        """What is at `path` as a tar; leaving the block ends it.

        Raises:
            NotFound: as `stat`.
        """
        where = absolute(path)
        top = base_name(where).removeprefix("/")
        async with self._readable(container) as root:
            with _file_errors(container, path):
                found = await self._run(partial(stat_path, root, where))
            await self._tell(container, "archive-path")
            async with self._sent(partial(pack, root, where, top)) as pieces:
                yield CopyOut(stat=found, pieces=pieces)

    @asynccontextmanager
    async def export(self, container: Container) -> AsyncIterator[trio.MemoryReceiveChannel[bytes]]:
        """The container's own files as a tar, without what is mounted into it.

        Raises:
            Conflict: it is being removed.
        """
        refuse_leaving(container, "export")
        mounts = await self._root_filesystems.rootfs_mounts(container.id)
        async with self._opened(partial(open_to_read, mounts)) as root:
            await self._tell(container, "export")
            async with self._sent(partial(pack, root, "/", None)) as pieces:
                yield pieces

    async def copy_in(self, container: Container, wanted: CopyIn, body: Body) -> None:
        """Extract an archive, plain or compressed, into a directory of a container.

        Raises:
            NotFound: the directory does not exist.
            InvalidParameter: it is none; or the archive is damaged, hostile, or does not fit.
            Forbidden: it is read-only.
        """
        async with self._writable(container) as root:
            with _file_errors(container, wanted.path):
                where = await self._run(partial(_destination, root, container, wanted.path))
            rules = await self._run(partial(_rules, root, container, wanted))
            send, inbox = open_inbox()

            def extract() -> None:
                plain = PlainStream(inbox.read, ExpansionLimits())
                unpack(root, where, plain.read, rules)
                while plain.read(_DRAIN_BYTES):  # past the end mark: the client wants to finish
                    pass

            with single_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(take_body, body, send)
                    await self._run(extract)
        await self._tell(container, "extract-to-dir")

    @asynccontextmanager
    async def reading(self, container: Container) -> AsyncIterator[Root]:
        """Its files, for reading in threads within the block."""
        async with self._readable(container) as root:
            yield root

    @asynccontextmanager
    async def writing(self, container: Container) -> AsyncIterator[Root]:
        """Its files, to be changed in threads within the block; it does not start meanwhile."""
        async with self._writable(container) as root:
            yield root

    @asynccontextmanager
    async def writing_own(self, container: Container) -> AsyncIterator[Root]:
        """Its own files, without what is mounted into it, to be changed in threads.

        Raises:
            Conflict: it runs.
        """
        await container.settle()
        async with container.turn("a change of its files"):
            if container.state.has_task:
                raise Conflict(f"container {container.id} is running")
            mounts = await self._root_filesystems.rootfs_mounts(container.id)
            async with self._opened(partial(open_to_write, mounts)) as root:
                yield root

    async def changes(self, container: Container) -> list[Change]:
        """What differs from the image, parents first, otherwise by name."""
        found: list[Change] = []
        with self._actions.timed("changes"):
            async with self.compared(container) as trees:
                await self._run(partial(changes, trees, found.append))
        return found

    async def has_changes(self, trees: Trees) -> bool:
        """Whether anything differs, of views that are open."""
        return await self._run(partial(has_changes, trees))

    @asynccontextmanager
    async def compared(self, container: Container) -> AsyncIterator[Trees]:
        """The three views of a container's files that tell what it has changed."""
        layers = layers_of(await self._root_filesystems.rootfs_mounts(container.id))
        async with AsyncExitStack() as stack:
            upper, lower = (layers.upper, layers.lower) if layers.upper else (layers.lower[0], ())
            top = await stack.enter_async_context(self._opened(partial(open_directory, upper)))
            merged = await stack.enter_async_context(self._opened(partial(open_layers, layers)))
            image = None
            if lower:
                below = partial(open_layers, Layers(lower=lower, options=layers.options))
                image = await stack.enter_async_context(self._opened(below))
            yield Trees(upper=top.fd, lower=None if image is None else image.fd, merged=merged)

    async def _run(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._threads)

    @asynccontextmanager
    async def _opened(self, opening: Callable[[], Root]) -> AsyncIterator[Root]:
        # Not cancelled in between: what was opened must be closed.
        with trio.CancelScope(shield=True):
            root = await self._run(opening)
        try:
            yield root
        finally:
            root.close()

    @asynccontextmanager
    async def _readable(self, container: Container) -> AsyncIterator[Root]:
        await container.settle()
        async with AsyncExitStack() as stack:
            root: Root | None = None
            if container.state.has_task:
                opening = partial(open_running, container.status.pid, container.id)
                with suppress(Conflict):  # it has just ended
                    root = await stack.enter_async_context(self._opened(opening))
            if root is None:
                mounts = await self._root_filesystems.rootfs_mounts(container.id)
                opening = partial(open_to_read, mounts, container.definition.mounts)
                root = await stack.enter_async_context(self._opened(opening))
            yield root

    @asynccontextmanager
    async def _writable(self, container: Container) -> AsyncIterator[Root]:
        """For one that does not run: nobody starts or removes it before the block ends."""
        await container.settle()
        async with AsyncExitStack() as stack:
            if not container.state.has_task:
                await stack.enter_async_context(container.turn("a copy into it"))
            if container.state.has_task:
                opening = partial(open_running, container.status.pid, container.id)
            else:
                mounts = await self._root_filesystems.rootfs_mounts(container.id)
                await stack.enter_async_context(self._mounted(container))
                opening = partial(open_to_write, mounts, container.definition.mounts)
            yield await stack.enter_async_context(self._opened(opening))

    @asynccontextmanager
    async def _mounted(self, container: Container) -> AsyncIterator[None]:
        """The volumes of a container that does not run, mounted for the time of the block."""
        names = volume_names(container.definition)
        if not names:
            yield
            return
        holder = f"{container.id} copy {secrets.token_hex(4)}"  # it may start meanwhile
        try:
            await self._volumes.acquire(holder, names)
            yield
        finally:
            with trio.move_on_after(CLEANUP_S, shield=True):
                await self._volumes.release(holder)

    @asynccontextmanager
    async def _sent(
        self, make: Callable[[Callable[[bytes], object]], None]
    ) -> AsyncIterator[trio.MemoryReceiveChannel[bytes]]:
        """What `make` sends in its thread, which ends with the block."""
        send, receive = trio.open_memory_channel[bytes](PIECES_AHEAD)

        def hand_over(data: bytes) -> None:
            trio.from_thread.run(send.send, data)

        def run() -> None:
            with suppress(trio.BrokenResourceError):  # the client has left
                make(hand_over)

        async def work() -> None:
            async with send:
                await self._run(run)

        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work)
                async with receive:
                    yield receive


def refuse_leaving(container: Container, action: str) -> None:
    """Raise Conflict if the container is being removed; dockerd's words."""
    if container.state is State.DEAD:
        raise Conflict(f"You cannot {action} container {container.id} which is Dead")
    if container.state is State.REMOVING:
        raise Conflict(f"You cannot {action} container {container.id} which is being removed")


def _destination(root: Root, container: Container, path: str) -> str:
    """The real path of the directory to extract into."""
    where = followed(root, absolute(path))
    with root.opened(where, PLACE) as found:
        if not stat.S_ISDIR(os.fstat(found).st_mode):
            raise InvalidParameter("extraction point is not a directory")
    point = next((p for p in container.definition.mounts if _is_in(where, p.destination)), None)
    if point is not None and point.type in ("bind", "volume", "image"):
        if not point.rw:
            raise Forbidden("mounted volume is marked read-only")
    elif container.definition.host_config.readonly_rootfs:
        raise Forbidden("container rootfs is marked read-only")
    return where


def _is_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _rules(root: Root, container: Container, wanted: CopyIn) -> Rules:
    owner = None
    if wanted.as_user and (name := container.definition.config.user):
        accounts = spec.read_account_files_in(Path(f"/proc/self/fd/{root.fd}"))
        user = spec.resolve_user(name, accounts)
        owner = (user.uid, user.gid)
    return Rules(keeps_directories=wanted.keeps_directories, owner=owner)


@contextmanager
def _file_errors(container: Container, path: str) -> Iterator[None]:
    """What the kernel says of a path, as dockerd says it."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"Could not find the file {path} in container {container.name}") from error
    except OSError as error:
        reason = f"{path} in container {container.name}: {error.strerror}"
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL):
            raise InvalidParameter(f"cannot reach {reason}") from error
        raise EngineError(f"cannot reach {reason}") from error
