"""What `audit` prints, and its exit status."""

from __future__ import annotations

from typing import Any, cast

import pytest

from supervisor.commands.audit import _audit
from supervisor.commands.client import Client

FINDING = {"Kind": "folders", "Subject": "/x", "Text": "it belongs to no container"}


class Answers:
    """An engine with one answer."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, str]]] = []

    def post(self, path: str, **query: str) -> dict[str, Any]:
        self.asked.append((path, query))
        return self.answer


@pytest.mark.parametrize("repair", [True, False])
def test_a_clean_machine(capsys: pytest.CaptureFixture[str], repair: bool) -> None:
    """Status 0, and what was looked at; what was mended before."""
    checks: list[dict[str, Any]] = [
        {"Kind": kind, "Error": "", "Findings": []} for kind in ("tasks", "store")
    ]
    mended = [FINDING] if repair else []
    engine = Answers({"Clean": True, "Checks": checks, "Mended": mended, "MendErrors": []})
    assert _audit(cast(Client, engine), repair=repair) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "nothing wrong: tasks, store"
    assert lines[:-1] == ["mended: folders: /x: it belongs to no container"] * repair
    assert engine.asked == [("/audit", {"repair": "1"} if repair else {})]


def test_what_is_wrong_is_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1; what could not be told counts as wrong."""
    checks = [
        {"Kind": "tasks", "Error": "containerd is away", "Findings": []},
        {"Kind": "folders", "Error": "", "Findings": [FINDING]},
    ]
    errors = ["containerd is away"]
    engine = Answers({"Clean": False, "Checks": checks, "Mended": [], "MendErrors": errors})
    assert _audit(cast(Client, engine), repair=True) == 1
    assert capsys.readouterr().out.splitlines() == [
        "not mended: containerd is away",
        "tasks: cannot tell: containerd is away",
        "folders: /x: it belongs to no container",
    ]
