"""What is wrong with a template."""

from __future__ import annotations


class TemplateError(ValueError):
    """It cannot be read, or says what cannot be; in Go's words where it has some."""

    def __init__(self, problem: str, line: int = 1) -> None:
        super().__init__(f"template: expansion:{line}: {problem}")
