"""Whether the kernel killed something of a container for want of memory: its cgroup counts it.

The count is exact where containerd's event may come late, or not at all while it is down. With
systemd's driver the cgroup is gone, its count with it, as soon as its last process is: so on a
unified hierarchy each running container's count is read whenever the kernel says that it changed.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import trio

from services.containers.cgroup_files import CgroupFiles
from services.containers.container import Container

_EVENTS_MAX_BYTES: Final = 4096  # a handful of names and numbers


class OomKills:
    """Counts of kills, as far as they can still be read or were seen. Its `run` is a child."""

    def __init__(self, files: CgroupFiles) -> None:
        self._files = files
        self._watched: dict[int, str] = {}  # descriptor of memory.events -> container id
        self._descriptors: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._poll: select.epoll | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read counts that change, until cancelled. Only cgroup version 2 has something to follow.

        Source: cgroup-v2.rst, memory.events: a change raises a file modified event.
        """
        with self._polling() as poll:
            task_status.started()
            while True:
                await trio.lowlevel.wait_readable(poll.fileno())
                for descriptor, _ in poll.poll(0):
                    self._read(descriptor)

    def follow(self, container: Container) -> None:
        """From now on see kills in the container's cgroup; nothing if it is followed already.

        Opens one file of the kernel's, some microseconds; one descriptor until `forget`.
        """
        if not self._files.is_unified or container.id in self._descriptors:
            return
        path = self._files.folder(container, "memory") / "memory.events"
        with suppress(OSError):  # it has ended already, or runs without this controller
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._watched[descriptor] = container.id
            self._descriptors[container.id] = descriptor
            if self._poll is not None:
                self._poll.register(descriptor, select.EPOLLPRI)

    def kills(self, container: Container) -> int:
        """How many processes were killed in the container's cgroup, the last time that one could
        tell. Blocks for a read of one small file."""
        file = "memory.events" if self._files.is_unified else "memory.oom_control"
        path = self._files.folder(container, "memory") / file
        try:
            return _kills_in(path.read_text())
        except OSError:
            return self._seen.get(container.id, 0)

    def forget(self, container: Container) -> None:
        """Its run has ended: what was seen of it counts no more."""
        self._seen.pop(container.id, None)
        descriptor = self._descriptors.pop(container.id, None)
        if descriptor is not None:
            self._drop(descriptor)

    @contextmanager
    def _polling(self) -> Iterator[select.epoll]:
        with select.epoll() as poll:
            for descriptor in self._watched:
                poll.register(descriptor, select.EPOLLPRI)
            self._poll = poll
            try:
                yield poll
            finally:
                self._poll = None

    def _read(self, descriptor: int) -> None:
        """Reading also tells the kernel that this change was seen."""
        container_id = self._watched[descriptor]
        try:
            text = os.pread(descriptor, _EVENTS_MAX_BYTES, 0).decode()
        except OSError:  # the cgroup is gone, and would be told of for ever
            if self._poll is not None:
                self._poll.unregister(descriptor)
            return
        self._seen[container_id] = max(self._seen.get(container_id, 0), _kills_in(text))

    def _drop(self, descriptor: int) -> None:
        """Closing takes it out of the poll as well."""
        del self._watched[descriptor]
        os.close(descriptor)


def _kills_in(text: str) -> int:
    fields = dict(line.split() for line in text.splitlines())
    return int(fields.get("oom_kill", "0"))
