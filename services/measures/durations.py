"""How long things take, by what they are: a histogram for each label."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Final

BOUNDS_S: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""From an answer out of memory to what is given up after a minute."""

LABELS_LIMIT: Final = 256
OTHER: Final = "_other"
"""The label of whatever comes after the first LABELS_LIMIT labels."""


class Histogram:
    """Counts observations by size. `counts` has one place more than there are bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = BOUNDS_S) -> None:
        self.bounds: Final = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count `value`. A bound belongs to what is below it, as in Prometheus."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)


class Durations:
    """Seconds, by label. At most LABELS_LIMIT labels are kept apart; the rest goes to OTHER."""

    def __init__(self, *, limit: int = LABELS_LIMIT) -> None:
        self._limit = limit
        self._by_label: dict[str, Histogram] = {}

    def observe(self, label: str, seconds: float) -> None:
        """Count one that took so long."""
        histogram = self._by_label.get(label)
        if histogram is None:
            if len(self._by_label) >= self._limit:
                label = OTHER
            histogram = self._by_label.setdefault(label, Histogram())
        histogram.observe(seconds)

    @contextmanager
    def timed(self, label: str) -> Iterator[None]:
        """Count the block, unless it raises."""
        began = perf_counter()
        yield
        self.observe(label, perf_counter() - began)

    @property
    def by_label(self) -> Mapping[str, Histogram]:
        """The histograms; they go on counting."""
        return self._by_label
