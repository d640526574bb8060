"""Large blobs written into containerd's own file of an ingest, instead of through its API.

An ingest of containerd's content store is a folder with a file for its data; whoever opens it
again goes on where that file ends, and containerd then reads and hashes what is there. That is how
an interrupted pull is resumed, and it is used here on purpose: the ingest is begun over the API,
its file is filled by us, and over the API it is opened again and committed. What is saved is the
framing and copying of every byte in three protocols, most of the time of a load.

Where the file cannot be found (a containerd elsewhere, another kind of store), nothing changes but
the speed: see `Content.writer`.

Source: containerd, content/local/store.go (ingestPaths, resumeStatus).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

T = TypeVar("T")

THREADS: Final = 4
MIN_BYTES: Final = 4 << 20
"""Below, the calls to begin and to open again cost more than they save."""


class IngestFile:
    """The data file of one ingest, open at its end. For one task at a time; `close` it."""

    def __init__(self, descriptor: int, offset: int, limiter: trio.CapacityLimiter) -> None:
        self.offset = offset
        self._descriptor, self._limiter = descriptor, limiter

    async def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`."""
        await _run(partial(_write_all, self._descriptor, data), self._limiter)
        self.offset += len(data)

    def close(self) -> None:
        """Nothing more is written."""
        os.close(self._descriptor)


class IngestFiles:
    """Finds the files of ingests."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._limiter = trio.CapacityLimiter(THREADS)

    async def open(self, root: Path, ref: str, offset: int) -> IngestFile | None:
        """The file of the ingest `ref`, which has `offset` bytes; None where it is not seen."""
        name = re.compile(rf"{re.escape(self._namespace)}/[0-9]+/{re.escape(ref)}")
        descriptor = await _run(partial(_open, root / "ingest", name, offset), self._limiter)
        return None if descriptor is None else IngestFile(descriptor, offset, self._limiter)


def _open(folder: Path, wanted: re.Pattern[str], offset: int) -> int | None:
    """containerd names the folder by a hash; the ingest's name is in a file beside the data."""
    try:
        for ingest in folder.iterdir():
            try:
                name = (ingest / "ref").read_text()
            except OSError:  # it has just ended
                continue
            if not wanted.fullmatch(name):
                continue
            descriptor = os.open(ingest / "data", os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if os.fstat(descriptor).st_size == os.lseek(descriptor, 0, os.SEEK_END) == offset:
                return descriptor
            os.close(descriptor)
    except OSError:
        pass
    return None


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


async def _run(work: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
    return await trio.to_thread.run_sync(work, limiter=limiter)
