"""One scrape: what changes is read on the loop, files in threads; the text is made in one."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from .container_rows import ContainerReader, Row
from .containers import ContainerFamilies

SHARED_S: Final = 0.5
"""Scrapes that come within this time of one another see the same values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """An answer: one of Prometheus' text formats."""

    content_type: str
    body: bytes
    is_compressed: bool


class Exposition:
    """All metrics, rendered when they are asked for.

    `on_loop` are collectors whose values change on the loop; they are read there, in about 3 ms.
    `anywhere` may be read in a thread.
    """

    def __init__(
        self,
        *,
        on_loop: Sequence[Collector],
        anywhere: Sequence[Collector],
        containers: ContainerReader,
    ) -> None:
        self._on_loop = on_loop
        self._anywhere = anywhere
        self._reader = containers
        self._container_families = ContainerFamilies()
        self._turn = trio.Lock()
        self._thread = trio.CapacityLimiter(1)
        self._families: Sequence[Metric] = ()
        self._read_at = -SHARED_S

    async def render(self, *, accept: str = "", compress: bool = False) -> Scrape:
        """The metrics of now, in the format that `accept` (an HTTP field) prefers."""
        async with self._turn:
            if trio.current_time() >= self._read_at + SHARED_S:
                await self._read()
            work = partial(_render, self._families, accept, compress)
            return await trio.to_thread.run_sync(work, limiter=self._thread)

    async def _read(self) -> None:
        rows = await self._reader.read()
        families = [family for collector in self._on_loop for family in collector.collect()]
        work = partial(self._in_thread, rows)
        self._families = [*families, *await trio.to_thread.run_sync(work, limiter=self._thread)]
        self._read_at = trio.current_time()

    def _in_thread(self, rows: Sequence[Row]) -> list[Metric]:
        families = list(self._container_families.families(rows))
        return [*families, *(f for collector in self._anywhere for f in collector.collect())]


class _Families(CollectorRegistry):
    """What the encoders want: something with `collect`."""

    def __init__(self, families: Iterable[Metric]) -> None:
        super().__init__(auto_describe=False)
        self._ready = families

    def collect(self) -> Iterator[Metric]:
        """The families."""
        return iter(self._ready)


def _render(families: Sequence[Metric], accept: str, compress: bool) -> Scrape:
    encode, content_type = choose_encoder(accept)
    body = encode(_Families(families))
    if compress:
        body = gzip.compress(body, compresslevel=1)
    return Scrape(content_type=content_type, body=body, is_compressed=compress)
