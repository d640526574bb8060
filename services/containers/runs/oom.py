"""Whether the kernel killed something of a container for want of memory: its cgroup counts it.

The count is exact where containerd's event may come late, or not at all while it is down. With
systemd's driver the cgroup is gone, its count with it, as soon as its last process is: so on a
unified hierarchy each running container's count is read whenever the kernel says that it changed.
Where systemd was quicker than that, the count of the slice around it tells, which has that of all
below: if it has just grown by more than is known of others, it was this container that was killed.
"""

from __future__ import annotations

import math
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from services.containers.cgroup_files import CgroupFiles
from services.containers.container import Container

_EVENTS_MAX_BYTES: Final = 4096  # a handful of names and numbers
KILLED_EXIT_CODE: Final = 137

JUST_S: Final = 5.0
"""What has changed in a slice for so long may be of a container whose exit is recorded now."""


@dataclass(slots=True)
class _Slice:
    """The count of a folder with containers in it, and how much of it is known to be whose."""

    count: int
    known: int
    grew_at: float = -math.inf  # on trio's clock


class OomKills:
    """Counts of kills, as far as they can still be read or were seen. Its `run` is a child."""

    def __init__(self, files: CgroupFiles, *, disk: trio.CapacityLimiter) -> None:
        self._files = files
        self._disk = disk
        self._watched: dict[int, str] = {}  # descriptor of memory.events -> container id
        self._descriptors: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._slices: dict[str, _Slice] = {}
        self._slice_of: dict[str, str] = {}  # by container
        self._slice_descriptors: dict[int, str] = {}
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
                    if descriptor in self._slice_descriptors:
                        self._read_slice(descriptor)
                    else:
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
            self._follow_slice(container.id, path.parent.parent / "memory.events")

    async def was_killed(self, container: Container, *, exit_code: int) -> bool:
        """Whether the kernel killed a process of the container's cgroup. False if not known."""
        with suppress(ValueError):
            count = partial(self.kills, container)
            if await trio.to_thread.run_sync(count, limiter=self._disk) > 0:
                return True
            is_surprise = exit_code == KILLED_EXIT_CODE and not container.status.stopped_by_user
            return is_surprise and self.take_unknown(container) > 0
        return False

    def kills(self, container: Container) -> int:
        """How many processes were killed in the container's cgroup, the last time that one could
        tell. Blocks for a read of one small file."""
        file = "memory.events" if self._files.is_unified else "memory.oom_control"
        path = self._files.folder(container, "memory") / file
        try:
            return _kills_in(path.read_text())
        except OSError:
            return self._seen.get(container.id, 0)

    def take_unknown(self, container: Container) -> int:
        """The kills of just now in the container's slice that are not known to be another's.

        From then on they are this one's. To be asked when its own count is lost, and it ended by a
        SIGKILL that nobody here has sent. On the loop; reads one file of the kernel's.
        """
        key = self._slice_of.get(container.id, "")
        found = self._slices.get(key)
        if found is None:
            return 0
        for descriptor in [one for one, its in self._slice_descriptors.items() if its == key]:
            self._read_slice(descriptor)
        is_recent = found.grew_at >= trio.current_time() - JUST_S
        kills = found.count - found.known if is_recent else 0
        found.known = max(found.known, found.count)
        return max(0, kills)

    def forget(self, container: Container) -> None:
        """Its run has ended: what was seen of it counts no more."""
        self._seen.pop(container.id, None)
        self._leave_slice(container.id)
        descriptor = self._descriptors.pop(container.id, None)
        if descriptor is not None:
            self._drop(descriptor)

    @contextmanager
    def _polling(self) -> Iterator[select.epoll]:
        with select.epoll() as poll:
            for descriptor in (*self._watched, *self._slice_descriptors):
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
        before = self._seen.get(container_id, 0)
        after = self._seen[container_id] = max(before, _kills_in(text))
        found = self._slices.get(self._slice_of.get(container_id, ""))
        if found is not None:
            found.known += after - before

    def _follow_slice(self, container_id: str, path: Path) -> None:
        """Its counts of before are nobody's that runs now."""
        key = self._slice_of[container_id] = str(path)
        if key in self._slices:
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        count = _kills_in(os.pread(descriptor, _EVENTS_MAX_BYTES, 0).decode())
        self._slices[key] = _Slice(count=count, known=count)
        self._slice_descriptors[descriptor] = key
        if self._poll is not None:
            self._poll.register(descriptor, select.EPOLLPRI)

    def _leave_slice(self, container_id: str) -> None:
        """With the last container goes what is held of the slice."""
        key = self._slice_of.pop(container_id, None)
        if key is None or key in self._slice_of.values():
            return
        self._slices.pop(key, None)
        for descriptor in [one for one, its in self._slice_descriptors.items() if its == key]:
            del self._slice_descriptors[descriptor]
            os.close(descriptor)

    def _read_slice(self, descriptor: int) -> None:
        try:
            text = os.pread(descriptor, _EVENTS_MAX_BYTES, 0).decode()
        except OSError:  # as in `_read`
            if self._poll is not None:
                self._poll.unregister(descriptor)
            return
        self._note_slice(self._slices[self._slice_descriptors[descriptor]], _kills_in(text))

    def _note_slice(self, found: _Slice, count: int) -> None:
        now = trio.current_time()
        if count > found.count:
            if found.grew_at < now - JUST_S:
                found.known = max(found.known, found.count)  # what nobody asked for in time
            found.count, found.grew_at = count, now

    def _drop(self, descriptor: int) -> None:
        """Closing takes it out of the poll as well."""
        del self._watched[descriptor]
        os.close(descriptor)


def _kills_in(text: str) -> int:
    fields = dict(line.split() for line in text.splitlines())
    return int(fields.get("oom_kill", "0"))
