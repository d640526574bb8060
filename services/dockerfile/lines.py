"""A Dockerfile's text as logical lines: directives read, comments dropped, continuations joined.

Pure. Nothing of an instruction's meaning is known here but which ones can have here-documents.

Source: Docker documentation, "Dockerfile reference" (format, parser directives, here-documents);
BuildKit, frontend/dockerfile/parser, where that is silent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from .errors import DockerfileError
from .text import mended
from .words import Quoting, split_words

MAX_DOCKERFILE_BYTES: Final = 16 << 20
_DIRECTIVE: Final = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES: Final = frozenset(("escape", "syntax", "check"))
_HEREDOC: Final = re.compile(r"(\d*)<<(-?)([^<]+)")
_WITH_HEREDOCS: Final = frozenset(("ADD", "COPY", "RUN"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """A here-document. `expands`: its name was not quoted, so variables in it are replaced.

    `descriptor` is the number before `<<`, 0 if there is none.
    """

    name: str
    content: str
    expands: bool = True
    descriptor: int = 0
    strips_tabs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One instruction as it is written. `number` is where it begins, from 1.

    `keyword` is in capitals. `flags` are the words `--...` before the arguments.
    """

    number: int
    keyword: str
    flags: tuple[str, ...]
    arguments: str
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def text(self) -> str:
        """The instruction on one line, for people."""
        return " ".join((self.keyword, *self.flags, self.arguments)).rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A Dockerfile: its lines, and the character that escapes and continues."""

    escape: str
    lines: tuple[Line, ...]


def read_lines(data: bytes) -> Source:
    """Take a Dockerfile apart. What is no UTF-8 stands as it is in here-documents only.

    Raises:
        DockerfileError: it is empty, too large, or breaks off in a here-document.
    """
    if len(data) > MAX_DOCKERFILE_BYTES:
        raise DockerfileError(f"the Dockerfile is larger than {MAX_DOCKERFILE_BYTES} bytes")
    text = data.decode("utf-8-sig", errors="surrogateescape")
    physical = [line.removesuffix("\r") for line in text.split("\n")]
    escape = _read_directives(physical)
    lines = tuple(_Reader(physical, escape).lines())
    if not lines:
        raise DockerfileError("file with no instructions")
    return Source(escape=escape, lines=lines)


def line_from_text(text: str, number: int, escape: str) -> Line:
    """An instruction that stands on one line; that of ONBUILD, for instance.

    Raises:
        DockerfileError: a flag's quotes do not end.
    """
    keyword, _, rest = _two_words(text.strip())
    flags, arguments = _split_flags(rest.strip(), escape, number)
    return Line(number=number, keyword=keyword.upper(), flags=flags, arguments=arguments)


def heredoc_starts(text: str) -> list[Heredoc]:
    """The here-documents that a line announces, in order, without their content."""
    found = []
    for word in split_words(text, "\\", Quoting.KEPT):
        match = _HEREDOC.fullmatch(word)
        if match is None:
            continue
        descriptor, dash, raw = match.groups()
        names = split_words(raw, "\\", Quoting.REMOVED)
        if len(names) != 1 or not names[0]:
            continue
        found.append(
            Heredoc(
                name=names[0],
                content="",
                expands=names[0] == raw,
                descriptor=int(descriptor or 0),
                strips_tabs=bool(dash),
            )
        )
    return found


def _read_directives(physical: list[str]) -> str:
    """The escape character. Directives stand before everything else, each once."""
    seen: dict[str, str] = {}
    for number, line in enumerate(physical, start=1):
        match = _DIRECTIVE.fullmatch(line.strip())
        name = match[1].lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            break
        if name in seen:
            raise DockerfileError(f"only one {name} parser directive can be used", number)
        seen[name] = match[2]
        if name == "escape" and match[2] not in ("\\", "`"):
            raise DockerfileError(f"invalid ESCAPE '{mended(match[2])}'. Must be ` or \\", number)
    return seen.get("escape", "\\")


class _Reader:
    """Goes through the physical lines once."""

    def __init__(self, physical: list[str], escape: str) -> None:
        self._physical = physical
        self._escape = escape
        mark = re.escape(escape)
        # The escape character itself, escaped, ends no line.
        self._continued = re.compile(rf"(?:(.*[^{mark}])|){mark}[ \t]*", re.DOTALL)
        self._at = 0

    def lines(self) -> Iterator[Line]:
        """Every instruction."""
        while self._at < len(self._physical):
            number = self._at + 1
            text = mended(self._joined())
            if text.strip():
                yield self._with_heredocs(line_from_text(text, number, self._escape))

    def _joined(self) -> str:
        """A physical line with those that continue it. A comment, or nothing, is ""."""
        first = self._next().lstrip()
        if first.startswith("#"):
            return ""
        text, is_continued = self._without_mark(first)
        while is_continued and self._at < len(self._physical):
            following = self._next()
            bare = following.strip()
            if bare.startswith("#") or not bare:  # neither ends the instruction
                continue
            more, is_continued = self._without_mark(following)
            text += more
        return text

    def _next(self) -> str:
        self._at += 1
        return self._physical[self._at - 1]

    def _without_mark(self, line: str) -> tuple[str, bool]:
        match = self._continued.fullmatch(line)
        return (line, False) if match is None else (match[1] or "", True)

    def _with_heredocs(self, line: Line) -> Line:
        keyword, arguments = line.keyword, line.arguments
        if keyword == "ONBUILD":
            inner, _, arguments = _two_words(arguments)
            keyword = inner.upper()
        is_json = arguments.lstrip().startswith("[")
        if keyword not in _WITH_HEREDOCS or "<<" not in arguments or is_json:
            return line
        heredocs = tuple(self._read_heredoc(one, line) for one in heredoc_starts(arguments))
        return replace(line, heredocs=heredocs)

    def _read_heredoc(self, heredoc: Heredoc, line: Line) -> Heredoc:
        content: list[str] = []
        while self._at < len(self._physical):
            text = self._next()
            is_last = self._at == len(self._physical)
            if (text.lstrip("\t") if heredoc.strips_tabs else text) == heredoc.name:
                return replace(heredoc, content="".join(content))
            if not is_last or text:
                stripped = text.lstrip("\t") if heredoc.strips_tabs else text
                content.append(stripped + "\n")
        raise DockerfileError("unterminated heredoc", line.number)


def _two_words(text: str) -> tuple[str, str, str]:
    match = re.match(r"(\S*)(\s*)(.*)\Z", text, re.DOTALL)
    assert match is not None
    return match[1], match[2], match[3]


def _split_flags(text: str, escape: str, number: int) -> tuple[tuple[str, ...], str]:
    """The leading words that begin with "--", and the rest; a bare "--" ends them."""
    flags: list[str] = []
    rest = text
    while rest.startswith("--"):
        word, rest = _first_word(rest, escape, number)
        if word == "--":
            break
        flags.append(word)
    return tuple(flags), rest


def _first_word(text: str, escape: str, number: int) -> tuple[str, str]:
    """One word with its quotes taken away, and what follows the white space after it."""
    word: list[str] = []
    quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        if char == escape and quote != "'" and at + 1 < len(text):
            at += 1
            word.append(text[at])
        elif quote:
            if char == quote:
                quote = ""
            else:
                word.append(char)
        elif char in "\"'":
            quote = char
        elif char.isspace():
            break
        else:
            word.append(char)
        at += 1
    if quote:
        raise DockerfileError(f"unterminated quote in flag: {text}", number)
    return "".join(word), text[at:].lstrip()
