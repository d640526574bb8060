"""Words and variables as a Dockerfile has them: quotes, escapes, $NAME and ${NAME...}. Pure.

Source: Docker documentation, "Dockerfile reference", environment replacement; POSIX shell, 2.6.2
(parameter expansion), from which it comes.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .errors import ExpansionError
from .patterns import replaced, trimmed

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SPECIAL: Final = frozenset("@*#?-$!0")
_MAX_DEPTH: Final = 50


class Quoting(enum.Enum):
    """What becomes of quotes and escapes."""

    REMOVED = enum.auto()
    KEPT = enum.auto()


def expand(word: str, variables: Mapping[str, str], *, escape: str = "\\") -> str:
    """One word with its variables replaced and its quotes taken away.

    Raises:
        ExpansionError: a quote or a brace that does not end, a modifier that there is none of, or
            `${NAME:?message}` of a variable that is not set.
    """
    return "".join(_Words(word, escape, variables).read(until="", splits=False))


def expand_words(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> list[str]:
    """The words of `text` likewise. White space that a variable brings divides words too."""
    return _Words(text, escape, variables).read(until="", splits=True)


def expand_raw(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> str:
    """Variables replaced, quotes and escapes left as they are: for here-documents."""
    return "".join(_Words(text, escape, variables, Quoting.KEPT).read(until="", splits=False))


def split_words(text: str, escape: str, quoting: Quoting) -> list[str]:
    """The words of `text`, `$` being a character like any other. A quote may stay open."""
    return _Words(text, escape, None, quoting, is_lenient=True).read(until="", splits=True)


@dataclass(slots=True)
class _Words:
    """A reader with its place. `variables` None: nothing is expanded."""

    text: str
    escape: str
    variables: Mapping[str, str] | None
    quoting: Quoting = Quoting.REMOVED
    is_lenient: bool = False
    _at: int = 0
    _depth: int = 0
    _done: list[str] = field(default_factory=list)
    _current: list[str] | None = None

    def read(self, *, until: str, splits: bool) -> list[str]:
        """Words up to the character `until`, which is taken as well, or to the end."""
        self._done, self._current = [], None
        while self._at < len(self.text):
            char = self.text[self._at]
            if until and char == until:
                self._at += 1
                return self._finished(splits)
            if splits and char.isspace():
                self._end_word()
                self._at += 1
            elif char == "'":
                self._single_quoted()
            elif char == '"':
                self._double_quoted()
            elif char == "$" and self.variables is not None:
                self._put_variable(splits)
            elif char == self.escape:
                self._escaped()
            else:
                self._put(char)
                self._at += 1
        if until:
            raise ExpansionError(f"syntax error: missing '{until}'")
        return self._finished(splits)

    def _finished(self, splits: bool) -> list[str]:
        self._end_word()
        return self._done if splits else ["".join(self._done)]

    def _put(self, text: str) -> None:
        if self._current is None:
            self._current = []
        self._current.append(text)

    def _end_word(self) -> None:
        if self._current is not None:
            self._done.append("".join(self._current))
            self._current = None

    def _escaped(self) -> None:
        """The character after it stands for itself."""
        following = self.text[self._at + 1 : self._at + 2]
        if self.quoting is Quoting.KEPT or not following:
            self._put(self.escape + following)
        else:
            self._put(following)
        self._at += 2

    def _single_quoted(self) -> None:
        end = self.text.find("'", self._at + 1)
        if end < 0:
            self._open_quote("single-quote")
            return
        inner = self.text[self._at + 1 : end]
        self._put(f"'{inner}'" if self.quoting is Quoting.KEPT else inner)
        self._at = end + 1

    def _double_quoted(self) -> None:
        start = self._at
        quote = '"' if self.quoting is Quoting.KEPT else ""
        parts = [quote]
        self._at += 1
        while self._at < len(self.text):
            char = self.text[self._at]
            if char == '"':
                self._at += 1
                self._put("".join(parts) + quote)
                return
            if char == "$" and self.variables is not None:
                parts.append(self._variable())
            elif char == self.escape:
                parts.append(self._escaped_in_quotes())
            else:
                parts.append(char)
                self._at += 1
        self._at = start
        self._open_quote("double-quote")

    def _escaped_in_quotes(self) -> str:
        """Only before `"`, `$` and itself it escapes."""
        following = self.text[self._at + 1 : self._at + 2]
        self._at += 2
        if self.quoting is Quoting.KEPT or following not in ('"', "$", self.escape):
            return self.escape + following
        return following

    def _open_quote(self, what: str) -> None:
        if not self.is_lenient:
            raise ExpansionError(f"unexpected end of statement while looking for matching {what}")
        self._put(self.text[self._at :])
        self._at = len(self.text)

    def _put_variable(self, splits: bool) -> None:
        value = self._variable()
        if not splits:
            self._put(value)
            return
        for number, part in enumerate(re.split(r"\s+", value)):
            if number:
                self._end_word()
            if part:
                self._put(part)

    def _variable(self) -> str:
        self._at += 1  # the dollar
        if self.text[self._at : self._at + 1] == "{":
            self._at += 1
            return self._braced()
        name = self._name()
        return self._value(name) or "" if name else "$"

    def _name(self) -> str:
        """A name, a number or one special character; "" if there is none."""
        rest = self.text[self._at : self._at + 1]
        match = _NAME.match(self.text, self._at)
        if match is not None:
            self._at = match.end()
            return match[0]
        if rest.isdecimal():
            match = re.compile(r"\d+").match(self.text, self._at)
            assert match is not None
            self._at = match.end()
            return match[0]
        if rest in _SPECIAL and rest:
            self._at += 1
            return rest
        return ""

    def _value(self, name: str) -> str | None:
        assert self.variables is not None
        return self.variables.get(name)

    def _braced(self) -> str:
        name = self._name()
        following = self.text[self._at : self._at + 1]
        if not following:
            raise ExpansionError("syntax error: missing '}'")
        if not name:
            raise ExpansionError("bad substitution")
        if following == "}":
            self._at += 1
            return self._value(name) or ""
        operator = self._operator()
        if operator in ("/", "//"):
            pattern = self._inner("/", "}")
            replacement = self._inner("}") if self.text[self._at - 1] == "/" else ""
            return replaced(self._value(name) or "", pattern, replacement, all=operator == "//")
        return self._modified(name, operator, self._inner("}"))

    def _operator(self) -> str:
        for operator in (":-", ":+", ":?", "##", "%%", "//", "-", "+", "?", "#", "%", "/"):
            if self.text.startswith(operator, self._at):
                self._at += len(operator)
                return operator
        raise ExpansionError(f"unsupported modifier ({self.text[self._at]}) in substitution")

    def _inner(self, *ends: str) -> str:
        """The word up to one of `ends`, expanded like any other."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ExpansionError("substitutions are nested too deep")
        kept = (self._done, self._current)
        self._done, self._current = [], None
        while self._at < len(self.text) and self.text[self._at] not in ends:
            char = self.text[self._at]
            if char == "'":
                self._single_quoted()
            elif char == '"':
                self._double_quoted()
            elif char == "$":
                self._put(self._variable())
            elif char == self.escape:
                self._escaped()
            else:
                self._put(char)
                self._at += 1
        if self._at >= len(self.text):
            raise ExpansionError("syntax error: missing '}'")
        self._at += 1
        self._end_word()
        text = "".join(self._done)
        self._done, self._current = kept
        self._depth -= 1
        return text

    def _modified(self, name: str, operator: str, word: str) -> str:
        value = self._value(name)
        counts = bool(value) if operator.startswith(":") else value is not None
        match operator.lstrip(":"):
            case "-":
                return (value or "") if counts else word
            case "+":
                return word if counts else ""
            case "?":
                if not counts:
                    raise ExpansionError(f"{name}: {word or 'not set'}")
                return value or ""
            case _:
                return trimmed(value or "", operator, word)
