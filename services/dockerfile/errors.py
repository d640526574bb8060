"""What is wrong with a Dockerfile, and where."""

from __future__ import annotations

from services.errors import InvalidParameter


class DockerfileError(InvalidParameter):
    """`line` is the number of the line at which the instruction begins, from 1; 0 is none."""

    def __init__(self, reason: str, line: int = 0) -> None:
        at = f"dockerfile parse error on line {line}: " if line else "dockerfile parse error: "
        super().__init__(f"{at}{reason}")
        self.reason = reason
        self.line = line


class ExpansionError(ValueError):
    """A word that cannot be expanded; the text says why."""
