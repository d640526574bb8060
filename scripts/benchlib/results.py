"""The figures of one line, their medians, and the ratio to the others."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

OURS: Final = "wharfinger"
Measure = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One comparison.

    Attributes:
        figures: the measured values in the order of the rounds, by contender.
        more_is_better: for throughputs; the ratio is turned, so that below 1 always means we win.
        aims: by contender, the ratio that we want to stay below; for `OURS` the figure itself.
    """

    name: str
    title: str
    unit: str
    figures: Mapping[str, tuple[float, ...]]
    more_is_better: bool = False
    aims: Mapping[str, float]

    @property
    def medians(self) -> dict[str, float]:
        """The median of each contender's values."""
        return {who: statistics.median(values) for who, values in self.figures.items()}

    @property
    def ratios(self) -> dict[str, float]:
        """How much of the other's cost is ours; below 1 we win."""
        medians = self.medians
        ours = medians.get(OURS)
        if not ours:
            return {}
        return {
            who: (theirs / ours if self.more_is_better else ours / theirs)
            for who, theirs in medians.items()
            if who != OURS and theirs
        }

    @property
    def missed(self) -> dict[str, float]:
        """The aims that were not met."""
        reached = {**self.ratios, OURS: self.medians.get(OURS, 0.0)}
        return {who: aim for who, aim in self.aims.items() if who in reached and reached[who] > aim}

    def to_json(self) -> dict[str, object]:
        """For the file."""
        medians = self.medians
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "more_is_better": self.more_is_better,
            "figures": {
                who: {"median": medians[who], "values": list(values)}
                for who, values in self.figures.items()
            },
            "ratios": self.ratios,
            "aims": dict(self.aims),
            "missed": sorted(self.missed),
        }


def alternate(rounds: int, contenders: Mapping[str, Measure]) -> dict[str, tuple[float, ...]]:
    """Every contender's values over `rounds` rounds; each round begins with another contender.

    A first round of each is thrown away: it reads binaries and images from the disk.
    """
    names = list(contenders)
    values: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        contenders[name]()
    for turn in range(rounds):
        at = turn % len(names)
        for name in (*names[at:], *names[:at]):
            values[name].append(contenders[name]())
    return {name: tuple(figures) for name, figures in values.items()}
