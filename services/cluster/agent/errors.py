"""How a task's step can fail, besides the engine's own errors."""

from __future__ import annotations

from services.errors import EngineError, Unavailable


class TaskExit(EngineError):
    """Its container ended, and not well. In dockerd's words; `code` is the exit code."""

    def __init__(self, code: int, cause: str = "") -> None:
        super().__init__(f"task: non-zero exit ({code})" + (f": {cause}" if cause else ""))
        self.code = code


class Lacking(Unavailable):
    """Something that the task needs was not told yet: it may come with what is told next."""


UNHEALTHY = "dockerexec: unhealthy container"
