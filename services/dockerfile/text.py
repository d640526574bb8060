"""Texts that were no UTF-8: Dockerfiles may hold any byte."""

from __future__ import annotations


def mended(text: str) -> str:
    """`text` with U+FFFD for each byte that was no UTF-8: as Go's JSON has it.

    Whatever goes into a message, a configuration or a command is JSON in the end.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
