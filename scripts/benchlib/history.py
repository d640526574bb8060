"""Earlier runs, as their files tell: what has become slower, and how each line went.

A ratio to another contender of the same run is compared, never a time: machines differ, and are
more or less busy.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

KEPT: Final = 10
"""So many earlier runs count."""

NOTICED: Final = 1.15
"""A ratio that is higher than the median of earlier ones by this factor is told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One line's ratio to one contender over the runs, the newest last."""

    line: str
    title: str
    contender: str
    ratios: list[float] = field(default_factory=list)

    @property
    def before(self) -> float | None:
        """The median of the earlier ones; None: there are none."""
        return statistics.median(self.ratios[:-1]) if len(self.ratios) > 1 else None

    @property
    def is_slower(self) -> bool:
        """Whether the newest one is worth a look."""
        return self.before is not None and self.ratios[-1] > NOTICED * self.before


def courses(found: dict[str, Any], folder: Path) -> list[Course]:
    """Those of the lines of `found`, with the runs of the same size in `folder` before it."""
    runs = [*_earlier(found, folder), found]
    made: dict[tuple[str, str], Course] = {}
    for line in found["lines"]:
        for contender in line["ratios"]:
            made[line["name"], contender] = Course(
                line=line["name"], title=line["title"], contender=contender
            )
    for run in runs:
        for line in run["lines"]:
            for contender, ratio in line["ratios"].items():
                if (course := made.get((line["name"], contender))) is not None:
                    course.ratios.append(ratio)
    return list(made.values())


def slower(all_courses: Sequence[Course]) -> Iterator[str]:
    """A sentence for each line that has become slower."""
    for course in all_courses:
        if course.is_slower:
            now, earlier = f"{course.ratios[-1]:.2f} x {course.contender}", len(course.ratios) - 1
            yield (
                f"slower than before: {course.title}: {now}, the median of {earlier} earlier runs "
                f"is {course.before:.2f}"
            )


def _earlier(found: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    runs = []
    for path in sorted(folder.glob("*.json")):
        try:
            run = json.loads(path.read_text())
            if run["quick"] == found["quick"] and run["made_at"] < found["made_at"]:
                runs.append(run)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not one of ours
    runs.sort(key=lambda run: str(run["made_at"]))
    return runs[-KEPT:]
