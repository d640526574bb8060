"""What is known of each running container at one moment: read in threads, within a limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from services.containers import Container
from services.containers.health.rules import HealthStatus
from services.containers.model import SHORT_ID
from services.containers.stats import Sample

READ_LIMIT_S: Final = 2.0  # for all containers' files; those that are not read by then are counted
THREADS: Final = 4
AT_ONCE: Final = 16  # containers that one trip to a thread reads; each takes half a millisecond


class LogTotals(Protocol):
    """What one container's log has and lacks."""

    written_lines: int
    written_bytes: int
    dropped_lines: int
    dropped_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One running container at one moment. `sample` is None if its files were not read."""

    id: str
    name: str
    image: str
    started_at_ns: int
    restarts: int
    health: HealthStatus | None
    failing_streak: int
    log: tuple[int, int, int, int]  # written lines and bytes, dropped lines and bytes
    sample: Sample | None


class ContainerSource(Protocol):
    """The containers, and what they use."""

    def running(self) -> Iterable[Container]:
        """Those that run, paused ones too."""
        ...

    def log_totals(self, container: Container) -> LogTotals:
        """Since the daemon started."""
        ...

    def sample(self, container: Container) -> Sample:
        """Blocks. OSError: it does not run any more."""
        ...


class ContainerReader:
    """Reads all running containers, in threads of its own and within READ_LIMIT_S."""

    def __init__(self, source: ContainerSource) -> None:
        self._source = source
        self._threads = trio.CapacityLimiter(THREADS)

    async def read(self) -> list[Row]:
        """A row for each; those that could not be read in time have no sample."""
        containers = list(self._source.running())
        samples: dict[str, Sample] = {}
        with trio.move_on_after(READ_LIMIT_S):
            async with trio.open_nursery() as nursery:
                for first in range(0, len(containers), AT_ONCE):
                    part = containers[first : first + AT_ONCE]
                    nursery.start_soon(self._read_some, part, samples)
        return [self._row(container, samples.get(container.id)) for container in containers]

    async def _read_some(self, part: Sequence[Container], samples: dict[str, Sample]) -> None:
        def read() -> dict[str, Sample]:
            found: dict[str, Sample] = {}
            for container in part:
                try:
                    found[container.id] = self._source.sample(container)
                except OSError:  # it has just ended
                    continue
            return found

        samples |= await trio.to_thread.run_sync(
            read, limiter=self._threads, abandon_on_cancel=True
        )

    def _row(self, container: Container, sample: Sample | None) -> Row:
        status, health = container.status, container.health
        log = self._source.log_totals(container)
        return Row(
            id=container.id[:SHORT_ID],
            name=container.name,
            image=container.definition.config.image,
            started_at_ns=status.started_at_ns,
            restarts=status.restart_count,
            health=None if health is None else health.status,
            failing_streak=0 if health is None else health.failing_streak,
            log=(log.written_lines, log.written_bytes, log.dropped_lines, log.dropped_bytes),
            sample=sample,
        )
