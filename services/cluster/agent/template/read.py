"""Reading a template: text and actions, and what stands in an action."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from services.cluster.agent.template.errors import TemplateError
from services.cluster.agent.template.tree import (
    Action,
    Branch,
    Literal,
    Node,
    Operand,
    Path,
    Pipeline,
    Text,
    Word,
)

DEPTH_LIMIT: Final = 50  # of blocks and brackets in one another

_TOKEN: Final = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<raw>`[^`]*`)'
    r"|(?P<number>[-+]?\d+(?:\.\d+)?)(?![\w.])"
    r"|(?P<path>\$?\w*(?:\.[A-Za-z_]\w*)+|\$\w*|\.(?![\w.]))"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<mark>:=|[|(),=]))"
)
_BLOCKS: Final = frozenset(("if", "with", "range"))
_UNSUPPORTED: Final = frozenset(("define", "block", "template", "break", "continue"))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text, or the inside of an action. `line` is where it begins."""

    text: str
    is_action: bool
    line: int


def read_template(text: str) -> tuple[Node, ...]:
    """The nodes of a template.

    Raises:
        TemplateError: it is none.
    """
    pieces = _Pieces(list(_split(text)))
    nodes, end = pieces.nodes(0)
    if end is not None:
        raise TemplateError(f"unexpected {{{{{end.text.split()[0]}}}}}", end.line)
    return nodes


def _split(text: str) -> Iterator[_Piece]:
    position, line = 0, 1
    is_trimmed = False
    while position < len(text):
        start = text.find("{{", position)
        plain = text[position:] if start < 0 else text[position:start]
        trims = (
            start >= 0
            and text[start + 2 : start + 3] == "-"
            and text[start + 3 : start + 4].isspace()
        )
        shown = plain.lstrip() if is_trimmed else plain
        yield _Piece(shown.rstrip() if trims else shown, False, line)
        line += plain.count("\n")
        if start < 0:
            return
        inside, position = _action(text, start + (3 if trims else 2), line)
        is_trimmed = len(inside) > 1 and inside[-1] == "-" and inside[-2].isspace()
        yield _Piece((inside[:-1] if is_trimmed else inside).strip(), True, line)
        line += inside.count("\n")


def _action(text: str, start: int, line: int) -> tuple[str, int]:
    """What stands between the brackets, and where the text goes on. Strings may hold brackets."""
    if text[start:].lstrip().startswith("/*"):
        end = text.find("*/", start)
        close = text.find("}}", end)
        if end < 0 or close < 0 or text[end + 2 : close].strip() not in ("", "-"):
            raise TemplateError("unclosed comment", line)
        return text[start:close], close + 2
    position = start
    while position < len(text):
        if text.startswith("}}", position):
            return text[start:position], position + 2
        if text[position] in '"`':
            match = _TOKEN.match(text, position)
            if match is None:
                raise TemplateError("unterminated quoted string", line)
            position = match.end()
        else:
            position += 1
    raise TemplateError("unclosed action", line)


class _Pieces:
    """The pieces from here on, read into nodes."""

    def __init__(self, pieces: list[_Piece]) -> None:
        self._pieces = pieces
        self._at = 0

    def nodes(self, depth: int) -> tuple[tuple[Node, ...], _Piece | None]:
        """Nodes up to the end of a block, and what ended it: `end`, `else ...` or nothing."""
        found: list[Node] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if not piece.is_action:
                if piece.text:
                    found.append(Text(piece.text))
                continue
            word, _, rest = piece.text.partition(" ")
            if word in ("end", "else"):
                return tuple(found), piece
            if word in _BLOCKS:
                found.append(self._block(word, rest, piece.line, depth + 1))
            elif word in _UNSUPPORTED:
                raise TemplateError(f"{word} is not supported", piece.line)
            elif not piece.text.startswith("/*"):
                found.append(Action(_Tokens(piece.text, piece.line).pipeline()))
        return tuple(found), None

    def _block(self, kind: str, text: str, line: int, depth: int) -> Branch:
        if depth > DEPTH_LIMIT:
            raise TemplateError("too deep", line)
        pipeline = _Tokens(text, line).pipeline()
        body, end = self.nodes(depth)
        otherwise: tuple[Node, ...] = ()
        if end is not None and end.text.startswith("else"):
            more = end.text.removeprefix("else").strip()
            if more:
                word, _, rest = more.partition(" ")
                if word not in ("if", "with"):
                    raise TemplateError(f"unexpected {more} in else", end.line)
                # An `else if` shares the end of its `if`.
                return Branch(kind, pipeline, body, (self._block(word, rest, end.line, depth + 1),))
            otherwise, end = self.nodes(depth)
        if end is None or end.text != "end":
            raise TemplateError("unexpected EOF", line)
        return Branch(kind, pipeline, body, otherwise)


class _Tokens:
    """The words of one action."""

    def __init__(self, text: str, line: int) -> None:
        self._line = line
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise TemplateError(f'"{text[position:].strip()}" is not supported', line)
            self._tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
            position = match.end()

    def pipeline(self) -> Pipeline:
        """All of it."""
        variables, is_new = self._assigned()
        found = self._commands(0)
        if self._at < len(self._tokens):
            raise TemplateError(f"unexpected {self._tokens[self._at][1]}", self._line)
        return replace(found, variables=variables, is_new=is_new)

    def _assigned(self) -> tuple[tuple[str, ...], bool]:
        marks = [n for n, token in enumerate(self._tokens) if token[1] in (":=", "=")]
        if not marks or self._tokens[marks[0]][0] != "mark":
            return (), True
        before = self._tokens[: marks[0]]
        names = tuple(text for kind, text in before if kind == "path")
        commas = [text for kind, text in before if kind != "path"]
        if not 1 <= len(names) <= 2 or commas != [","] * (len(names) - 1):
            raise TemplateError("unexpected assignment", self._line)
        if any(not name.startswith("$") or "." in name for name in names):
            raise TemplateError("only variables can be assigned to", self._line)
        self._at = marks[0] + 1
        return names, self._tokens[marks[0]][1] == ":="

    def _commands(self, depth: int) -> Pipeline:
        if depth > DEPTH_LIMIT:
            raise TemplateError("too deep", self._line)
        commands: list[tuple[Operand, ...]] = []
        operands: list[Operand] = []
        while self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            if (kind, text) == ("mark", ")"):
                break
            self._at += 1
            if (kind, text) == ("mark", "|"):
                commands.append(self._command(operands))
                operands = []
            elif (kind, text) == ("mark", "("):
                operands.append(self._bracket(depth + 1))
            else:
                operands.append(self._operand(kind, text))
        commands.append(self._command(operands))
        return Pipeline(tuple(commands), self._line)

    def _command(self, operands: list[Operand]) -> tuple[Operand, ...]:
        if not operands:
            raise TemplateError("missing value for command", self._line)
        return tuple(operands)

    def _bracket(self, depth: int) -> Path:
        inside = self._commands(depth)
        if self._at >= len(self._tokens):
            raise TemplateError("unclosed left paren", self._line)
        self._at += 1
        fields: tuple[str, ...] = ()
        if self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            if kind == "path" and text.startswith(".") and len(text) > 1:
                fields = tuple(text[1:].split("."))
                self._at += 1
        return Path(inside, fields)

    def _operand(self, kind: str, text: str) -> Operand:
        match kind:
            case "string":
                return Literal(self._string(text))
            case "raw":
                return Literal(text[1:-1])
            case "number":
                return Literal(float(text) if "." in text else int(text))
            case "word" if text in ("true", "false"):
                return Literal(text == "true")
            case "word":
                return Word(text)
            case "path":
                base, _, rest = text.partition(".")
                return Path(base or ".", tuple(rest.split(".")) if rest else ())
        raise TemplateError(f'unexpected "{text}" in operand', self._line)

    def _string(self, text: str) -> str:
        try:
            found = json.loads(text)  # Go's escapes beyond JSON's (\x41, \a) are not taken
        except ValueError as error:
            raise TemplateError(f"invalid string {text}", self._line) from error
        assert isinstance(found, str)
        return found
