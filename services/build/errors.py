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
        self.code = code


def at_line(error: EngineError, line: int) -> EngineError:
    """The same error with the number of the line that caused it."""
    kind = InvalidParameter if isinstance(error, InvalidParameter) else EngineError
    return kind(f"{error} (line {line} of the Dockerfile)")
