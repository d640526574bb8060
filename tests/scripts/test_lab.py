"""scripts/lablib: a lab whose engine does not come up says why, and at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from lablib.engines import Engine


class Bare:
    """A host that runs this in place of the engine, with no namespace around it."""

    name = "node1"

    def __init__(self, program: str) -> None:
        self._program = program

    def command(self, *_: str) -> list[str]:
        return [sys.executable, "-c", self._program]


def test_an_engine_that_ended_is_not_waited_for(tmp_path: Path) -> None:
    """Its status is told, and what its log ends with."""
    ends = Bare("import sys; print('no such module', flush=True); sys.exit(3)")
    engine = Engine(ends, tmp_path / "node1")  # type: ignore[arg-type]
    engine.start()
    with pytest.raises(
        RuntimeError, match=r"node1 ended with status 3; its log ends:\nno such module"
    ):
        engine.wait_answering()


def test_an_engine_that_does_not_answer_in_time_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what its log ends with, too."""
    monkeypatch.setattr("lablib.engines.START_LIMIT_S", 0.0)
    hangs = Bare("import sys; sys.stdin.close(); import signal; signal.pause()")
    engine = Engine(hangs, tmp_path / "node1")  # type: ignore[arg-type]
    engine.start()
    try:
        with pytest.raises(RuntimeError, match="node1: not within 0 s: it answers; its log ends:"):
            engine.wait_answering()
    finally:
        engine.kill()
