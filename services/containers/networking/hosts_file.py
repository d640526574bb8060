"""/etc/hosts of containers that run, changed in place: it is mounted, and may be edited inside.

Source: moby, daemon/libnetwork/etchosts/etchosts.go and sandbox_dns_unix.go (makeHostsRecs): only
lines that are exactly as they were written are taken out again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.containers.files import files_in

log = logger.bind(service="containers")

MAX_BYTES: Final = 1 << 20
"""A container may write what it likes into its file; one that is larger is left alone."""

Change = Callable[[str], str]


def with_records(text: str, addresses: Iterable[str], names: str) -> str:
    """The file with a line for each address; those that are not there yet at its end."""
    present = set(text.splitlines())
    lines = [f"{address}\t{names}" for address in addresses]
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(f"{line}\n" for line in lines if line not in present)


def without_records(text: str, addresses: Iterable[str], names: str) -> str:
    """The file without these lines."""
    gone = {f"{address}\t{names}" for address in addresses}
    return "".join(line for line in text.splitlines(True) if line.rstrip("\r\n") not in gone)


def with_address(text: str, alias: str, address: str) -> str:
    """The file in which `alias` is at another address."""
    line = re.compile(rf"^\S*(\t{re.escape(alias)})(?=\s|\.|$)", re.MULTILINE)
    return line.sub(lambda found: address + found[1], text)


def without_alias(text: str, alias: str) -> str:
    """The file without the line of `alias`."""
    return re.sub(rf"^\S*\t{re.escape(alias)}(?:[ \t].*)?\n", "", text, flags=re.MULTILINE)


class HostsFiles:
    """The files of containers, below `directory`; one change after the other."""

    def __init__(self, *, directory: Path, disk: trio.CapacityLimiter) -> None:
        self._directory = directory
        self._disk = disk
        self._turn = trio.Lock()

    async def change(self, container_id: str, change: Change) -> None:
        """Change a container's file; if that cannot be done, the log says so."""
        path = Path(files_in(self._directory / container_id).hosts)
        try:
            async with self._turn:
                await trio.to_thread.run_sync(rewrite, path, change, limiter=self._disk)
        except OSError as error:
            log.error("hosts file not updated", container=container_id, error=str(error))

    async def add(self, container_id: str, addresses: Iterable[str], names: str) -> None:
        """A container has got these addresses."""
        await self.change(container_id, partial(with_records, addresses=addresses, names=names))

    async def remove(self, container_id: str, addresses: Iterable[str], names: str) -> None:
        """A container has lost these addresses."""
        await self.change(container_id, partial(without_records, addresses=addresses, names=names))


def rewrite(path: Path, change: Change) -> None:
    """Change a file in place. At no moment is it empty. Blocks.

    Raises:
        OSError: it cannot be written, or is larger than MAX_BYTES.
    """
    with path.open("r+b", buffering=0) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise OSError(f"{path} is larger than {MAX_BYTES} bytes")
        before = file.read()
        text = before.decode(errors="surrogateescape")
        after = change(text).encode(errors="surrogateescape")
        if after != before:
            os.pwrite(file.fileno(), after, 0)
            os.ftruncate(file.fileno(), len(after))
