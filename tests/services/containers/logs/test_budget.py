"""What has to go so that all logs keep to a budget: the order, and that nothing more goes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from services.containers.logs.budget import Do, Step, make_room
from services.containers.logs.usage import LogUsage, measure


def drops(*logs: str) -> list[Step]:
    return [Step(log, Do.DROP) for log in logs]


@pytest.mark.parametrize(
    ("usages", "expected"),
    [
        pytest.param({"a": LogUsage(40, (30,)), "b": LogUsage(5)}, [], id="it fits"),
        pytest.param(
            {"a": LogUsage(10, (40, 40)), "b": LogUsage(5, (20,))},
            drops("a"),
            id="the largest log's oldest, and no more",
        ),
        pytest.param(
            {"a": LogUsage(10, (50, 30)), "b": LogUsage(20, (45,))},
            drops("a", "b"),
            id="largest by what is left of it",
        ),
        pytest.param(
            {"a": LogUsage(0, (30,)), "b": LogUsage(60), "c": LogUsage(55)},
            [*drops("a"), Step("b", Do.ROTATE), *drops("b")],
            id="newest files only when no other is left",
        ),
        pytest.param(
            {"a": LogUsage(80), "b": LogUsage(4)},
            [Step("a", Do.ROTATE)],
            id="a large log is rotated ahead",
        ),
        pytest.param({"a": LogUsage(70, (10,)), "b": LogUsage(4)}, [], id="one with older is not"),
    ],
)
def test_what_goes(usages: dict[str, LogUsage], expected: list[Step]) -> None:
    """Of a budget of 100."""
    assert make_room(usages, 100) == expected


def test_any_logs_fit_afterwards() -> None:
    """Whatever their sizes; no newest file goes while an older one is there."""
    choose = random.Random(3)
    for _ in range(300):
        usages = {
            f"c{n}": LogUsage(
                choose.randrange(50),
                tuple(choose.randrange(50) for _ in range(choose.randrange(5))),
            )
            for n in range(choose.randrange(1, 9))
        }
        budget = choose.randrange(1, 300)
        left = {name: [*usage.older, usage.newest] for name, usage in usages.items()}
        for step in make_room(usages, budget):
            if step.do is Do.ROTATE:
                assert len(left[step.log]) == 1
                left[step.log].append(0)
            else:
                assert len(left[step.log]) > 1
                left[step.log].pop(0)
        assert sum(map(sum, left.values())) <= budget


def test_files_are_told_by_their_names(tmp_path: Path) -> None:
    """The oldest first, what is kept for followers before them; others' files do not count."""
    names = ["x.log", "x.log.1", "x.log.2.gz", "x.log.10", ".x.log.held.7", "x.log.bak", "y.log.1"]
    for size, name in enumerate(names, start=1):
        (tmp_path / name).write_bytes(b"x" * size)
    assert measure(tmp_path / "x.log") == LogUsage(1, (5, 4, 3, 2))
    assert measure(tmp_path / "absent" / "x.log") == LogUsage()
