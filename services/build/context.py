"""A build's context on disk: received as an archive, gone with the build.

<directory>/<random>/context/...     what the client sent
<directory>/<random>/files/...       what the build itself puts aside: downloads, here-documents
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from services.containers.archives.root import PLACE, Root
from services.errors import InvalidParameter, single_error

if TYPE_CHECKING:
    from services.images.ports import Body

T = TypeVar("T")

CLEANUP_LIMIT_S: Final = 60.0
MAX_DOCKERFILE_BYTES: Final = 16 << 20
MEMORY_PREFIX: Final = "memory-"
"""Begins the names of folders with a tmpfs, among a build's own files."""

_DRAIN_BYTES: Final = 1 << 20
MAX_REMOTE_BYTES: Final = 1 << 36
_TAR_MAGIC: Final = slice(257, 262)
_MAX_CONTEXT_BYTES: Final = 1 << 38


class BuildContext:
    """The files of one build."""

    def __init__(self, directory: Path, below: str = "") -> None:
        """`below`: a directory of what was fetched, which is the context.

        Raises:
            InvalidParameter: there is no such directory.
        """
        self.directory = directory
        self.files = directory / "files"
        self.dockerfile: bytes | None = None  # what is built, where it is none of the context's
        self.fill: Callable[[], Awaitable[None]] | None = None  # for files that come late
        self._filling = trio.Lock()
        self.root = Root(fd=os.open(directory / "context", PLACE | os.O_DIRECTORY))
        if below:
            with self.root as whole:
                self.root = Root(fd=_open_directory(whole, below))

    def read_dockerfile(self, path: str) -> bytes:
        """The Dockerfile, every link taken as inside the context.

        Raises:
            InvalidParameter: there is none there, or it is too large.
        """
        if self.dockerfile is not None:
            return _checked(self.dockerfile, path)
        try:
            with (
                self.root.opened(path, os.O_RDONLY) as found,
                open(found, "rb", closefd=False) as f,
            ):
                data = f.read(MAX_DOCKERFILE_BYTES + 1)
        except OSError as error:
            raise InvalidParameter(f"Cannot locate specified Dockerfile: {path}") from error
        return _checked(data, path)

    async def provide(self) -> None:
        """Have the files here, which a build with no use for them need not wait for."""
        async with self._filling:
            if self.fill is not None:
                await self.fill()
                self.fill = None

    def put_aside(self, data: bytes, mode: int = 0o644) -> Path:
        """A file of the build's own."""
        path = self.files / secrets.token_hex(8)
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def make_aside(self) -> Path:
        """A directory of the build's own."""
        path = self.files / secrets.token_hex(8)
        path.mkdir(mode=0o755)
        return path

    def open_aside(self) -> AsideFile:
        """The same for what comes in pieces."""
        return AsideFile(self.files / secrets.token_hex(8))


class AsideFile:
    """A file of the build's own, hashed as it is written. All calls block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._file = path.open("xb")

    @property
    def digest(self) -> str:
        """sha256:... of what was written."""
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)

    def close(self, mode: int, modified_at: float) -> None:
        """It is whole; `modified_at` is in seconds since the epoch."""
        self._file.close()
        self.path.chmod(mode)
        os.utime(self.path, (modified_at, modified_at))


class BuildContexts:
    """Makes contexts below `directory`."""

    def __init__(self, directory: Path, *, disk: trio.CapacityLimiter) -> None:
        self._directory = directory
        self._disk = disk

    async def remove_leftovers(self) -> None:
        """Those of builds that were killed; none may be under way."""
        await self._run(partial(_remove_all, self._directory))

    @asynccontextmanager
    async def empty(self) -> AsyncIterator[BuildContext]:
        """One with nothing in it, for whoever fills it."""
        async with self._made() as directory, self._opened(directory) as context:
            yield context

    @asynccontextmanager
    async def receive(self, body: Body) -> AsyncIterator[BuildContext]:
        """The archive that a client sends, plain or compressed, extracted.

        Raises:
            InvalidParameter: it is none, is damaged or hostile.
        """
        async with self._made() as directory:
            await self._extract(directory, body)
            async with self._opened(directory) as context:
                yield context

    @asynccontextmanager
    async def fetch(self, remote: str) -> AsyncIterator[BuildContext]:
        """What is behind a URL: a git repository, an archive, or a Dockerfile alone.

        Raises:
            InvalidParameter: no URL, or what is there is no context.
            EngineError: it cannot be had.
        """
        from services.images.download import download_url

        from .remote import check_out, parse_git

        async with self._made() as directory:
            git = parse_git(remote)
            if git is not None:
                await check_out(git, directory / "context")
            else:
                await self._download(directory, download_url(remote))
            async with self._opened(directory, git.directory if git else "") as context:
                yield context

    @asynccontextmanager
    async def _made(self) -> AsyncIterator[Path]:
        directory = self._directory / secrets.token_hex(8)
        try:
            await self._run(partial(_make, directory))
            yield directory
        finally:
            with trio.move_on_after(CLEANUP_LIMIT_S, shield=True):
                await self._run(partial(shutil.rmtree, directory, ignore_errors=True))

    @asynccontextmanager
    async def _opened(self, directory: Path, below: str = "") -> AsyncIterator[BuildContext]:
        context = await self._run(partial(BuildContext, directory, below))
        try:
            yield context
        finally:
            context.root.close()

    async def _extract(self, directory: Path, body: Body) -> None:
        from services.images.inbox import open_inbox, take_body

        send, inbox = open_inbox()
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take_body, body, send)
                await self._run(partial(_extract, directory, inbox.read))

    async def _download(self, directory: Path, url: str) -> None:
        from services.images.download import download

        file = await self._run(partial(AsideFile, directory / "files" / "remote"))
        try:
            async with download(url) as body:
                async for piece in body:
                    if file.size_bytes > MAX_REMOTE_BYTES:
                        raise InvalidParameter(f"{url} is larger than {MAX_REMOTE_BYTES} bytes")
                    await self._run(partial(file.write, piece))
        finally:
            file.close(0o600, 0.0)
        await self._run(partial(_take_remote, directory, file.path))

    async def _run(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._disk)


def _checked(data: bytes, path: str) -> bytes:
    if len(data) > MAX_DOCKERFILE_BYTES:
        raise InvalidParameter(f"the Dockerfile is larger than {MAX_DOCKERFILE_BYTES} bytes")
    if not data.strip():
        raise InvalidParameter(f"the Dockerfile ({path}) cannot be empty")
    return data


def _extract(directory: Path, read: Callable[[int], bytes]) -> None:
    from services.containers.archives.unpack import Rules, unpack
    from services.images.compression import ExpansionLimits, PlainStream

    plain = PlainStream(read, ExpansionLimits(total_bytes=_MAX_CONTEXT_BYTES))
    with Root(fd=os.open(directory / "context", PLACE | os.O_DIRECTORY)) as root:
        # Root's, as under dockerd: the client's users mean nothing here.
        unpack(root, "/", plain.read, Rules(owner=(0, 0)))
    while plain.read(_DRAIN_BYTES):  # past the end mark
        pass


def _take_remote(directory: Path, file: Path) -> None:
    """An archive is extracted; anything else is the Dockerfile of an empty context."""
    with file.open("rb") as source:
        is_archive = has_tar(source.read)
        source.seek(0)
        if is_archive:
            _extract(directory, source.read)
            return
    file.rename(directory / "context" / "Dockerfile")


def directory_in(tree: Path, below: str) -> Path:
    """Where a directory of a tree that nobody changes lies; links are inside the tree. Blocks.

    Raises:
        InvalidParameter: there is none.
    """
    with Root(fd=os.open(tree, PLACE | os.O_DIRECTORY)) as whole:
        found = _open_directory(whole, below)
        try:
            return Path(os.readlink(f"/proc/self/fd/{found}"))
        finally:
            os.close(found)


def _open_directory(whole: Root, below: str) -> int:
    try:
        return whole.open(below, PLACE | os.O_DIRECTORY)
    except OSError as error:
        raise InvalidParameter(f"no directory {below} in the repository") from error


def has_tar(read: Callable[[int], bytes]) -> bool:
    """Whether a stream, plain or compressed, begins as a tar does."""
    from services.images.compression import ExpansionLimits, PlainStream

    try:
        plain = PlainStream(read, ExpansionLimits())
        head = b""
        while len(head) < _TAR_MAGIC.stop and (more := plain.read(512)):
            head += more
    except (InvalidParameter, OSError):
        return False
    return head[_TAR_MAGIC] == b"ustar"


def _make(directory: Path) -> None:
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("context", "files"):
        (directory / name).mkdir(mode=0o755, parents=True)


def _remove_all(directory: Path) -> None:
    for folder in directory.glob(f"*/files/{MEMORY_PREFIX}*"):  # by an engine that was killed
        from services.system.memory_folders import unmount_memory

        unmount_memory(folder)
    for path in directory.iterdir() if directory.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)
