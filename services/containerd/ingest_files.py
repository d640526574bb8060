"""The files that unfinished blobs are, where containerd's content store is on a disk that we see.

What is appended to such a file is as if it had been written by a writer that then went away: the
next writer of the same ref hashes what is there and goes on after it. For large blobs this saves
the way through gRPC, which costs a processor as much as all the rest of a download.

Source: containerd, content/local (ingest/<digest of key>/{ref,data}) and metadata/content.go (the
key); both unchanged since 1.0. Where it is otherwise, there is no file, and the writer does it all.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import trio

from .introspection import Introspection

_CONTENT: Final = "type==io.containerd.content.v1"


class IngestFile:
    """An ingest's data, open for appending; comes from `IngestFiles.open`. Close it."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self.offset = offset  # the next write goes there
        self._descriptor = descriptor

    async def write(self, data: bytes | memoryview) -> None:
        """Append `data`, in a thread; what was written of it stays, whatever happens then."""
        await trio.to_thread.run_sync(self._write, data)

    def close(self) -> None:
        """Let go of the file. containerd syncs it when the blob is committed."""
        os.close(self._descriptor)

    def _write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self.offset += written
            view = view[written:]


class IngestFiles:
    """Finds the files of ingests of one namespace."""

    def __init__(self, introspection: Introspection, namespace: str) -> None:
        self._introspection, self._namespace = introspection, namespace

    async def open(self, ref: str, offset: int) -> IngestFile | None:
        """The file of the ingest `ref`, which has `offset` bytes and no writer now.

        None where there is no such file of that size: containerd keeps it elsewhere.
        """
        for plugin in await self._introspection.plugins(_CONTENT):
            root = plugin.exports.get("root", "")
            if root and plugin.id == "content":
                return await trio.to_thread.run_sync(self._open, Path(root), ref, offset)
        return None

    def _open(self, root: Path, ref: str, offset: int) -> IngestFile | None:
        key = f"{self._namespace}/1/{ref}"
        folder = root / "ingest" / hashlib.sha256(key.encode()).hexdigest()
        try:
            if (folder / "ref").read_text() != key:
                return None
            descriptor = os.open(folder / "data", os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        except (OSError, UnicodeDecodeError):
            return None
        if os.fstat(descriptor).st_size != offset:
            os.close(descriptor)
            return None
        return IngestFile(descriptor, offset)
