"""Samples for whoever reads them: one a second for each container, however many its readers.

There is no task for it: of the readers that wait for the next sample, one takes it for all, and
when nobody reads, nothing happens. A reader that is slow gets the newest sample when it comes
back and misses those between; nothing is kept for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import trio

from services.containers.container import Container
from services.containers.stats.values import Sample

INTERVAL_S: Final = 1.0
THREADS: Final = 4


class Source(Protocol):
    """Where samples come from."""

    def read(self, container: Container) -> Sample:
        """What a container uses now. Blocks. OSError: it does not run any more."""


class Feed:
    """The newest sample of one container, and the right to take the next one."""

    def __init__(self, container: Container, source: Source, threads: trio.CapacityLimiter) -> None:
        self.readers = 0
        self._container = container
        self._source = source
        self._threads = threads
        self._turn = trio.Lock()
        self._number = 0
        self._latest: Sample | None = None
        self._due = trio.current_time()

    async def newer_than(self, seen: int) -> tuple[int, Sample | None]:
        """The first sample after number `seen`, and its number; None: the container does not run.

        Blocks for at most INTERVAL_S and a sample's time.
        """
        if not self._has_newer_than(seen):
            async with self._turn:
                if not self._has_newer_than(seen):  # who had the turn before may have taken it
                    await trio.sleep_until(self._due)
                    self._latest = await self._take()
                    self._number += 1
                    self._due = trio.current_time() + INTERVAL_S
        return self._number, self._latest

    def _has_newer_than(self, seen: int) -> bool:
        """An old sample does not count: it is what slow readers have left."""
        return self._number > seen and trio.current_time() < self._due

    async def _take(self) -> Sample | None:
        if not self._container.state.has_task:
            return None
        try:
            return await trio.to_thread.run_sync(
                self._source.read, self._container, limiter=self._threads
            )
        except OSError:
            return None


class StatisticsReader:
    """One reader's place in a container's feed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._seen = 0

    async def next(self) -> Sample | None:
        """The next sample for this reader; None when the container does not run."""
        self._seen, sample = await self._feed.newer_than(self._seen)
        return sample


class Statistics:
    """What containers use, for the time that somebody wants to know."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._threads = trio.CapacityLimiter(THREADS)
        self._feeds: dict[Container, Feed] = {}

    @contextmanager
    def subscribe(self, container: Container) -> Iterator[StatisticsReader]:
        """Read a container's samples. The last reader to leave ends the sampling."""
        feed = self._feeds.get(container)
        if feed is None:
            feed = self._feeds[container] = Feed(container, self._source, self._threads)
        feed.readers += 1
        try:
            yield StatisticsReader(feed)
        finally:
            feed.readers -= 1
            if not feed.readers:
                del self._feeds[container]

    def take(self, container: Container) -> Sample:
        """What a running container uses now, for somebody who does not follow. Blocks: for a
        thread.

        Raises:
            OSError: it does not run any more.
        """
        return self._source.read(container)

    @property
    def is_idle(self) -> bool:
        """Whether nobody reads."""
        return not self._feeds
