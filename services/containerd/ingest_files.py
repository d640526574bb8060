"""Large blobs written into containerd's own file of an ingest, instead of through its API.

An ingest of containerd's content store is a folder with a file for its data. It is begun over the
API, which keeps it from the collector and remembers it for whoever goes on with it; its file is
filled by us, hashed on the way, synced and given its place among the blobs by a link. A blob that
is in its place, and that the namespace does not have yet, is one that containerd shares: it takes
it over the API without reading a byte of it. What is saved is the framing and copying of every byte
in three protocols and a second hashing in one thread, most of the time of a load.

Where the file cannot be found (a containerd elsewhere, another kind of store), nothing changes but
the speed: see `Content.writer`.

Source: containerd, content/local/store.go (ingestPaths, blobPath); metadata/content.go (shared).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

T = TypeVar("T")

THREADS: Final = 4
MIN_BYTES: Final = 4 << 20
"""Below, the calls to begin and to take over cost more than they save."""
_READ_BYTES: Final = 1 << 20


class IngestFile:
    """The data file of one ingest, open at its end. For one task at a time; `close` it."""

    def __init__(
        self, path: Path, descriptor: int, *, root: Path, limiter: trio.CapacityLimiter
    ) -> None:
        self.offset = 0
        self._path, self._descriptor = path, descriptor
        self._root, self._limiter = root, limiter
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Of what is in it."""
        return f"sha256:{self._hash.hexdigest()}"

    async def catch_up(self) -> None:
        """Hash what an earlier writer left."""
        await _run(self._hash_file, self._limiter)

    async def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`."""
        await _run(partial(self._append, data), self._limiter)

    async def place(self) -> None:
        """Give it its place among the blobs; it is on the disk then. The ingest has it too.

        Raises:
            OSError: the place is on another file system, or not ours to write to.
        """
        await _run(self._place, self._limiter)

    def close(self) -> None:
        """Nothing more is written."""
        os.close(self._descriptor)

    def _hash_file(self) -> None:
        while data := os.pread(self._descriptor, _READ_BYTES, self.offset):
            self._hash.update(data)
            self.offset += len(data)

    def _append(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self._hash.update(view[:written])
            self.offset += written
            view = view[written:]

    def _place(self) -> None:
        os.fsync(self._descriptor)
        os.fchmod(self._descriptor, 0o444)
        folder = self._root / "blobs" / "sha256"
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another namespace has it
            os.link(self._path, folder / self._hash.hexdigest())
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class IngestFiles:
    """Finds the files of ingests."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._limiter = trio.CapacityLimiter(THREADS)

    async def open(self, root: Path, ref: str, offset: int) -> IngestFile | None:
        """The file of the ingest `ref`, which has `offset` bytes; None where it is not seen."""
        name = re.compile(rf"{re.escape(self._namespace)}/[0-9]+/{re.escape(ref)}")
        opened = await _run(partial(_open, root / "ingest", name, offset), self._limiter)
        if opened is None:
            return None
        path, descriptor = opened
        file = IngestFile(path, descriptor, root=root, limiter=self._limiter)
        if offset:
            try:
                await file.catch_up()
            except BaseException:
                file.close()
                raise
        return file


def _open(folder: Path, wanted: re.Pattern[str], offset: int) -> tuple[Path, int] | None:
    """containerd names the folder by a hash; the ingest's name is in a file beside the data."""
    try:
        for ingest in folder.iterdir():
            try:
                name = (ingest / "ref").read_text()
            except OSError:  # it has just ended
                continue
            if not wanted.fullmatch(name):
                continue
            path = ingest / "data"
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            if os.fstat(descriptor).st_size == os.lseek(descriptor, 0, os.SEEK_END) == offset:
                return path, descriptor
            os.close(descriptor)
    except OSError:
        pass
    return None


async def _run(work: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
    return await trio.to_thread.run_sync(work, limiter=limiter)
