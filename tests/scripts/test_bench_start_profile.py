"""scripts/bench --profile-start: what Python's watch tells, by part. Seconds are nobody's test."""

from __future__ import annotations

import pytest
from benchlib.start_profile import by_part, read_watch

WATCHED = """\
import time: self [us] | cumulative | imported package
import time:       150 |        150 |   trio._core
import time:      1000 |       1150 | trio
import time:       200 |        200 |     json.decoder
2026-11-30T00:16:24.608Z INFO    API listens service=api
import time:       300 |        500 | services.images
import time:      9000 |       9000 |   quart.app
import time:        50 |         50 | somebody.elses
"""


def test_the_watch_is_read_without_what_nobody_waits_for() -> None:
    """Other lines of the log are passed over, and so is what the routes bring along."""
    assert read_watch(WATCHED.splitlines()) == [
        ("trio._core", 0.15),
        ("trio", 1.0),
        ("json.decoder", 0.2),
        ("services.images", 0.3),
        ("somebody.elses", 0.05),
    ]


def test_each_module_belongs_to_one_part() -> None:
    """Their sum is the sum of all."""
    costs = by_part(dict(read_watch(WATCHED.splitlines())))
    assert [(cost.part, cost.modules) for cost in costs] == [
        ("the standard library", 1),
        ("trio, and what it needs", 2),
        ("the engine's own: services", 1),
        ("other libraries", 1),
    ]
    assert sum(cost.took_ms for cost in costs) == pytest.approx(1.7)
