"""supervisor.commands.reload: what people read."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.commands import reload
from supervisor.commands.client import Client

NOTHING: dict[str, Any] = {
    "DryRun": False,
    "Applied": [],
    "Restarted": [],
    "Reread": [],
    "NeedDaemonRestart": [],
}


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        ({}, ["no setting differs from what is in force"]),
        ({"Reread": ["/c"]}, ["read again: /c", "no setting differs from what is in force"]),
        ({"Applied": ["debug", "dns"]}, ["applied: debug, dns"]),
        (
            {
                "DryRun": True,
                "Restarted": [{"Part": "root/x", "Settings": ["a", "b"]}],
                "NeedDaemonRestart": ["mtu"],
            },
            [
                "would be changed alone: root/x (for a, b)",
                "waits for a restart of the daemon: mtu",
            ],
        ),
    ],
)
def test_each_setting_is_told_of(
    answer: dict[str, Any],
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With what became of it, or would."""
    asked: list[tuple[str, dict[str, str]]] = []

    def post(self: Client, path: str, **query: str) -> dict[str, Any]:
        asked.append((path, query))
        return NOTHING | answer

    monkeypatch.setattr(Client, "post", post)
    is_dry = bool(answer.get("DryRun"))
    assert reload.main(["--dry-run"] if is_dry else [], {}) == 0
    assert capsys.readouterr().out.splitlines() == lines
    assert asked == [("/reload", {"dry-run": "1"} if is_dry else {})]
