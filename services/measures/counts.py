"""How often things happen, by what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LABELS_LIMIT: Final = 1024


class Counts:
    """Counters by a tuple of labels, as many as the owner says that there are.

    At most LABELS_LIMIT tuples are kept apart; the rest is counted under `_other` in each place.
    """

    def __init__(self, *, limit: int = LABELS_LIMIT) -> None:
        self._limit = limit
        self._by_labels: dict[tuple[str, ...], int] = {}

    def add(self, *labels: str, count: int = 1) -> None:
        """Count one more, or `count`."""
        counts = self._by_labels
        if labels not in counts and len(counts) >= self._limit:
            labels = ("_other",) * len(labels)
        counts[labels] = counts.get(labels, 0) + count

    @property
    def by_labels(self) -> Mapping[tuple[str, ...], int]:
        """The counters."""
        return self._by_labels

    @property
    def total(self) -> int:
        """All of them together."""
        return sum(self._by_labels.values())
