"""Earlier runs of the bench make a regression visible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchlib.history import courses, slower


def run(made_at: str, ratio: float, *, quick: bool = False) -> dict[str, Any]:
    """A run with one line."""
    line = {"name": "exec", "title": "docker exec", "ratios": {"dockerd": ratio}, "aims": {}}
    return {"made_at": made_at, "quick": quick, "lines": [line]}


@pytest.mark.parametrize(("now", "is_told"), [(1.0, False), (1.1, False), (1.3, True)])
def test_a_ratio_beyond_the_usual_is_told(tmp_path: Path, now: float, is_told: bool) -> None:
    """Against the median of earlier runs of the same size; what is no run is passed over."""
    for day, ratio in enumerate((1.0, 0.9, 1.0, 5.0), 1):
        (tmp_path / f"{day}.json").write_text(json.dumps(run(f"2026-11-0{day}", ratio)))
    (tmp_path / "quick.json").write_text(json.dumps(run("2026-11-05", 9.0, quick=True)))
    (tmp_path / "other.json").write_text("[]")
    found = courses(run("2026-11-09", now), tmp_path)
    assert found[0].ratios == [1.0, 0.9, 1.0, 5.0, now]
    assert bool(list(slower(found))) == is_told


def test_a_first_run_has_nothing_to_compare_with(tmp_path: Path) -> None:
    """And says nothing."""
    assert list(slower(courses(run("2026-11-09", 3.0), tmp_path))) == []
