"""Patterns of paths as .dockerignore has them: `*` in a name, `**` for any directories, `!`. Pure.

A path is matched too when a directory that it is in is. Unlike in moby `**` within a name is `*`.

Source: Docker documentation, "Build context", .dockerignore files; moby, patternmatcher.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from services.errors import InvalidParameter

ANY_DIRECTORIES: Final = "**"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pattern:
    """`parts` None stands for any directories, none too; as the last one for all that is in it."""

    parts: tuple[re.Pattern[str] | None, ...]
    is_exception: bool

    def start(self) -> frozenset[int]:
        """Where a path may begin: numbers of the parts that its first name may match."""
        return self._with_skipped({0})

    def step(self, at: frozenset[int], name: str) -> frozenset[int]:
        """Where the next name may be after this one; the number after the last is a match."""
        following: set[int] = set()
        for number in at:
            if number == len(self.parts):
                continue
            part = self.parts[number]
            if part is None:
                following |= {number, number + 1} if number + 1 == len(self.parts) else {number}
            elif part.fullmatch(name):
                following.add(number + 1)
        return self._with_skipped(following)

    def is_matched(self, at: frozenset[int]) -> bool:
        """Whether a path that led here is what is meant."""
        return len(self.parts) in at

    def _with_skipped(self, at: Iterable[int]) -> frozenset[int]:
        found = set(at)
        for number in sorted(found):
            here = number
            # As the last part it needs a name.
            while here < len(self.parts) - 1 and self.parts[here] is None:
                here += 1
                found.add(here)
        return frozenset(found)


class PathPatterns:
    """Several of them, of which the last one that matches decides."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raises InvalidParameter for one that is malformed."""
        self._patterns = [found for text in patterns if (found := _parse(text)) is not None]
        self.has_exceptions = any(pattern.is_exception for pattern in self._patterns)

    @property
    def is_empty(self) -> bool:
        """Whether there is none, so that nothing is matched."""
        return not self._patterns

    def matches(self, path: str) -> bool:
        """Whether a path, without a slash at its beginning, is meant or is in what is."""
        names = path.split("/")
        is_meant = False
        for pattern in self._patterns:
            at = pattern.start()
            for name in names:
                at = pattern.step(at, name)
                if pattern.is_matched(at):
                    is_meant = not pattern.is_exception
                    break
        return is_meant

    def may_match_in(self, directory: str) -> bool:
        """Whether something in a directory can be meant, as far as its path tells."""
        if self.matches(directory):
            return True
        for pattern in self._patterns:
            at = pattern.start()
            for name in directory.split("/"):
                at = pattern.step(at, name)
            if at and not pattern.is_exception:
                return True
        return False


def compile_name(part: str) -> re.Pattern[str]:
    """One name of a path as Go's path.Match takes it.

    Raises:
        InvalidParameter: it is malformed.
    """
    expression, at = "", 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            expression += "[^/]*+" if at == len(part) else "[^/]*"
        elif char == "?":
            expression += "[^/]"
        elif char == "\\" and at < len(part):
            expression += re.escape(part[at])
            at += 1
        elif char == "[":
            end = part.find("]", at + 1)
            if end < 0:
                raise InvalidParameter(f"syntax error in pattern: {part}")
            members, at = part[at:end], end + 1
            negated = members.startswith("^")
            quoted = re.sub(r"([\\\[\]&~|^])", r"\\\1", members.removeprefix("^"))
            expression += f"[{'^' if negated else ''}{quoted}]"
        else:
            expression += re.escape(char)
    try:
        return re.compile(expression, re.DOTALL)
    except re.error as error:
        raise InvalidParameter(f"syntax error in pattern: {part}") from error


def _parse(text: str) -> _Pattern | None:
    """None for one that says nothing."""
    text = text.strip()
    is_exception = text.startswith("!")
    clean = posixpath.normpath("/" + text.removeprefix("!").strip()).lstrip("/")
    if text == "!":
        raise InvalidParameter('illegal exclusion pattern: "!"')
    if not clean:
        return None
    parts: list[re.Pattern[str] | None] = []
    for part in clean.split("/"):
        if part != ANY_DIRECTORIES:
            parts.append(compile_name(re.sub(r"\*{2,}", "*", part)))
        elif not parts or parts[-1] is not None:  # two of them say no more than one
            parts.append(None)
    return _Pattern(parts=tuple(parts), is_exception=is_exception)
