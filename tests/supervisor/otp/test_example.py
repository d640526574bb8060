"""The example of docs/otp.md runs and does what it says."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import pytest
from trio.testing import MockClock

from supervisor import otp

ROOT = Path(__file__).parents[3]


async def test_example(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """The feed crashes and is restarted, workers come and go, the store drains at the end."""
    await runpy.run_path(str(ROOT / "docs/examples/otp.py"))["main"]()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "root/feed crashed: five is right out",
        "hello from ann",
        "hello from bob",
    ]
    assert lines[3:8] == [
        "root: running",
        "  store: running",
        "  feed: running, 1 restart",
        "  workers: running",
        "    bob: running",
    ]
    assert lines[8].startswith("store: drained")


def test_docs_name_what_is_there() -> None:
    """The names in docs/otp.md, under "Names", are those of the package, no more and no fewer."""
    text = (ROOT / "docs/otp.md").read_text()
    listed = text.split("## Names")[1].split("\n## ")[0].split("| --- |")[1]
    public = {
        name
        for name, value in vars(otp).items()
        if not name.startswith("_") and name != "annotations" and not inspect.ismodule(value)
    }
    assert set(re.findall(r"`(\w+)`", listed)) == public


async def test_the_service_in_thirty_lines(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """It fails at every third beat, and goes on from there; the stop is in good order."""
    await runpy.run_path(str(ROOT / "docs/examples/heartbeat.py"))["main"]()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["beat 1", "beat 2", "beat 4", "beat 5"]
    assert lines[-1] == "stopped"
