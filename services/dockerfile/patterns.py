"""The patterns of ${NAME#...} and its like: `*`, `?`, escapes, on values of a bounded length. Pure.

Source: POSIX shell, 2.6.2 and 2.13 (pattern matching).
"""

from __future__ import annotations

import re
from typing import Final

from .errors import ExpansionError

MAX_MATCHED_CHARS: Final = 64 * 1024


def trimmed(value: str, operator: str, pattern: str) -> str:
    """Without the shortest or longest beginning or end that matches."""
    longest = len(operator) == 2
    if operator[0] == "#":
        found = _pattern(pattern, value, greedy=longest).match(value)
        return value[found.end() :] if found else value
    # The shortest end begins last, the longest first.
    starts = range(len(value) + 1) if longest else range(len(value), -1, -1)
    whole = _pattern(pattern, value, greedy=True)
    at = next((start for start in starts if whole.fullmatch(value, start)), len(value))
    return value[:at]


def replaced(value: str, pattern: str, replacement: str, *, all: bool) -> str:
    """The first match, or `all` of them, replaced. An empty pattern matches nothing."""
    if not pattern:
        return value
    wanted = _pattern(pattern, value, greedy=True)
    return wanted.sub(lambda _: replacement, value, count=0 if all else 1)


def _pattern(pattern: str, value: str, *, greedy: bool) -> re.Pattern[str]:
    """A regular expression for `*`, `?` and escapes; everything else is itself.

    What stands between two stars is looked for once, at its first place, and not looked for again:
    else a few stars and a long value would take for ever. Greedy or not makes a difference for the
    last star alone.

    Raises:
        ExpansionError: the value is too long for it.
    """
    if len(value) > MAX_MATCHED_CHARS:
        raise ExpansionError(f"patterns match values of {MAX_MATCHED_CHARS} characters at most")
    parts = [""]  # between the stars
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            at += 1
            parts[-1] += re.escape(pattern[at])
        elif char == "*":
            parts.append("")
        else:
            parts[-1] += "." if char == "?" else re.escape(char)
        at += 1
    first, *others = parts
    text = first
    for number, part in enumerate(others, start=1):
        is_last = number == len(others)
        text += f".*{part}" if is_last and greedy else f"(?>.*?{part})"
    return re.compile(text, re.DOTALL)
