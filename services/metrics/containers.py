"""What running containers use, do and log: a set of labels for each of the first, one for the rest.

Prometheus keeps every label set for as long as it keeps data; containers come and go. So LABELLED
containers have series of their own: those that have them keep them, then those that run longest.
All others are summed under `_other`; its counters never fall when a container ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from services.measures.durations import OTHER

from .container_rows import Row
from .container_values import VALUES, Value

LABELLED: Final = 200

PREFIX: Final = "wharfinger_container_"


class ContainerFamilies:
    """Makes the families of rows. For one thread at a time."""

    def __init__(self, *, labelled: int = LABELLED) -> None:
        self._limit = labelled
        self._labelled: set[str] = set()
        self._others = _Others()

    def families(self, rows: Sequence[Row]) -> Iterator[Metric]:
        """All families, of rows that were just read."""
        own, others = self._split(rows)
        yield self._info(own)
        yield _outcomes(own, others)
        self._others.take(others)
        for value in VALUES:
            kind = CounterMetricFamily if value.is_counter else GaugeMetricFamily
            family = kind(PREFIX + value.name, value.help, labels=["id", "name"])
            for row in own:
                number = value.read(row)
                if number is not None:
                    family.add_metric([row.id, row.name], number)
            rest = self._others.value(value, others)
            if rest is not None:
                family.add_metric([OTHER, OTHER], rest)
            yield family
        yield _start_times(own)

    def _split(self, rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """Those with series of their own, and the rest."""
        self._labelled &= {row.id for row in rows}
        for row in sorted(rows, key=lambda row: row.started_at_ns):
            if len(self._labelled) >= self._limit:
                break
            self._labelled.add(row.id)
        own = [row for row in rows if row.id in self._labelled]
        return own, [row for row in rows if row.id not in self._labelled]

    @staticmethod
    def _info(own: Sequence[Row]) -> Metric:
        family = GaugeMetricFamily(
            PREFIX + "info", "What a running container is", labels=["id", "name", "image"]
        )
        for row in own:
            family.add_metric([row.id, row.name, row.image], 1)
        return family


class _Others:
    """The sums of those without labels. Its counters grow by what each one's counter grew by."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._last: dict[str, Mapping[str, float]] = {}  # counters by container

    def take(self, rows: Sequence[Row]) -> None:
        """Add what has been counted since the last time."""
        now = {row.id: self._counters(row) for row in rows}
        for container_id, counters in now.items():
            before = self._last.get(container_id, {})
            for name, value in counters.items():
                # What was counted from the start of a container on; after a reset, all of it.
                grown = value - before.get(name, 0.0)
                self._totals[name] = self._totals.get(name, 0.0) + (grown if grown >= 0 else value)
        self._last = {
            container_id: {**self._last.get(container_id, {}), **counters}
            for container_id, counters in now.items()
        }

    def value(self, value: Value, rows: Sequence[Row]) -> float | None:
        """The sum, None if there never was anything to sum."""
        if value.is_counter:
            return self._totals.get(value.name)
        numbers = [number for row in rows if (number := value.read(row)) is not None]
        return math.fsum(numbers) if numbers else None

    @staticmethod
    def _counters(row: Row) -> dict[str, float]:
        found = ((value.name, value.read(row)) for value in VALUES if value.is_counter)
        return {name: number for name, number in found if number is not None}


def _outcomes(own: Sequence[Row], others: Sequence[Row]) -> Metric:
    family = GaugeMetricFamily(
        "wharfinger_scraped_containers",
        "Running containers with series of their own, summed under _other, and not read in time",
        labels=["series"],
    )
    family.add_metric(["own"], len(own))
    family.add_metric(["other"], len(others))
    family.add_metric(["unread"], sum(row.sample is None for row in (*own, *others)))
    return family


def _start_times(own: Sequence[Row]) -> Metric:
    family = GaugeMetricFamily(
        PREFIX + "start_time_seconds", "When it was started, since the epoch", labels=["id", "name"]
    )
    for row in own:
        family.add_metric([row.id, row.name], row.started_at_ns / 1e9)
    return family
