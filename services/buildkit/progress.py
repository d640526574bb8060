"""What the builder tells, as steps on a status board.

Source: BuildKit, frontend/dockerfile/dockerfile2llb/convert.go (prefixCommand): which instructions
have a number, and how a stage is called.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.build.errors import CommandFailed
from services.build.output import StageOutput
from services.build.plan import SCRATCH, Stage
from services.dockerfile import Line
from services.errors import EngineError

from .board import StatusBoard
from .steps import Step, Task

_NUMBERED: Final = frozenset(("ADD", "COPY", "RUN", "WORKDIR"))
_DONE: Final = frozenset(
    ("Pull complete", "Already exists", "Download complete", "Verifying Checksum")
)


def failure_text(error: Exception) -> str:
    """What a step that failed is said to have failed of."""
    if isinstance(error, CommandFailed):
        return f'process "{error.command}" did not complete successfully: exit code: {error.code}'
    reason = getattr(error, "reason", "")
    return str(reason or error)


class StatusOutputs:
    """A build's stages on a board."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board
        self._stages: Sequence[StatusOutput] = ()

    def open(self, stages: Sequence[Stage]) -> Sequence[StageOutput]:
        """See `services.build.output.Outputs`."""
        many = len(stages) > 1 or any(stage.index for stage in stages)
        self._stages = [
            StatusOutput(self._board, stage, _stage_name(stage) if many else "") for stage in stages
        ]
        return self._stages

    async def forward(self) -> None:
        """Everything is told at once."""

    async def warn(self, text: str) -> None:
        """A remark, at the last stage."""
        if self._stages:
            self._stages[-1].warn(text)


class StatusOutput:
    """One stage's steps. `name` is "" where there is only one."""

    def __init__(self, board: StatusBoard, stage: Stage, name: str) -> None:
        self._board, self._stage, self._name = board, stage, name
        self._tasks: dict[str, Task] = {}
        self._triggers = 0
        lines = [stage.line] if _has_base(stage) else []
        lines += [line for line in stage.steps if line.keyword in _NUMBERED]
        self._steps: dict[int, Step] = {}
        for number, line in enumerate(lines, start=1):
            shown = _shown(stage, line)
            self._steps[id(line)] = self._step(
                str(number), f"{self._prefix(number, len(lines))}{shown}"
            )
        for step in self._steps.values():
            step.announce()
        self._current: Step | None = None
        self._last: Step | None = next(reversed(self._steps.values()), None)

    async def begin(self, line: Line, number: int, steps: int) -> None:  # noqa: ARG002
        """See `services.build.output.StageOutput`."""
        self._current = self._steps.get(id(line))
        if self._current is not None:
            self._current.begin()

    async def trigger(self, line: Line) -> None:
        """See `services.build.output.StageOutput`."""
        self._triggers += 1
        prefix = f"[{self._name} onbuild] " if self._name else "[onbuild] "
        self._current = self._step(f"onbuild {self._triggers}", f"{prefix}{line.text}")
        self._current.begin()

    async def cached(self) -> None:
        """See `services.build.output.StageOutput`."""
        if self._current is not None:
            self._current.cached()

    async def print(self, text: str, *, is_stderr: bool) -> None:
        """See `services.build.output.StageOutput`."""
        if self._current is not None:
            self._current.log(text, is_stderr=is_stderr)

    async def say(self, text: str) -> None:
        """See `services.build.output.StageOutput`; the steps tell it all."""

    async def tell(self, message: Mapping[str, Any]) -> None:
        """A pull's line: a count that grows, or a remark."""
        name, status = message.get("id", ""), message.get("status", "")
        if self._current is None or not name:
            return
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = self._current.task(name)
        counts = message.get("progressDetail") or {}
        if status in _DONE:
            task.end()
        elif counts:
            task.advance(counts.get("current", 0), counts.get("total", 0))

    async def end(self) -> None:
        """See `services.build.output.StageOutput`."""
        if self._current is not None:
            self._current.end()
            self._current = None

    async def fail(self, error: Exception) -> None:
        """See `services.build.output.StageOutput`."""
        if self._current is not None:
            self._current.end(failure_text(error))

    def close(self) -> None:
        """What is open still has been broken off."""
        for step in (*self._steps.values(), self._current):
            if step is not None:
                step.end("context canceled")

    def warn(self, text: str) -> None:
        """A remark about the build."""
        if self._last is not None:
            self._last.warn(text)

    def _step(self, key: str, name: str) -> Step:
        return Step(self._board, f"stage {self._stage.index} {key}", name)

    def _prefix(self, number: int, total: int) -> str:
        width = 1 + int(math.log10(total))
        stage = f"{self._name} " if self._name else ""
        return f"[{stage}{number:>{width}}/{total}] "


def _has_base(stage: Stage) -> bool:
    return stage.base_stage is None and stage.base.lower() != SCRATCH


def _stage_name(stage: Stage) -> str:
    return stage.name or f"stage-{stage.index}"


def _shown(stage: Stage, line: Line) -> str:
    if line is stage.line:
        from services.images import parse_reference

        try:
            return f"FROM {parse_reference(stage.base).tagged()}"
        except EngineError:  # the build says so in a moment
            return f"FROM {stage.base}"
    return line.text.encode("utf-8", "replace").decode()
