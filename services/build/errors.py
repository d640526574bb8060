"""How a build fails."""

from __future__ import annotations

from services.errors import EngineError, InvalidParameter


class CommandFailed(EngineError):
    """A RUN ended with another exit code than 0."""

    def __init__(self, command: str, code: int, line: int) -> None:
        super().__init__(
            f"The command '{command}' returned a non-zero code: {code} (line {line} of the "
            "Dockerfile)"
        )
        self.command = command
        self.code = code
        self.line = line


class StepFailed(EngineError):
    """An instruction failed. `reason` is the error without the place."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(f"{reason} (line {line} of the Dockerfile)")
        self.reason = reason
        self.line = line


class StepInvalid(InvalidParameter):
    """An instruction asks for what cannot be. `reason` is the error without the place."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(f"{reason} (line {line} of the Dockerfile)")
        self.reason = reason
        self.line = line


def at_line(error: EngineError, line: int) -> EngineError:
    """The same error with the number of the line that caused it."""
    kind = StepInvalid if isinstance(error, InvalidParameter) else StepFailed
    return kind(str(error), line)
