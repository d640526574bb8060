"""JSON as Go's encoding/json reads and ends it: what is accepted, and the words for what is not.

msgspec decodes; only what it refuses is scanned here, slowly, to find Go's message or Go's leniency
(text that is not UTF-8 is mended, not refused).

Source: Go, encoding/json (scanner) and strconv.Quote; dockerd passes these texts on to its clients.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

import msgspec

_SPACE: Final = b" \t\r\n"
_MAX_DEPTH: Final = 1000
"""Go stops at 10,000; Python's own decoder would run out of stack long before that."""

_STRING_RUN = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGIT_RUN = re.compile(rb"[0-9]*")
_LONGEST_INTEGER: Final = 1000  # characters
_ESCAPES: Final = b'"\\/bfnrt'
_HEX: Final = b"0123456789abcdefABCDEF"
_DIGITS: Final = b"0123456789"


class JsonSyntaxError(ValueError):
    """Not JSON; the text is Go's."""


class TrailingContentError(JsonSyntaxError):
    """A whole value, then something more."""


def encode(value: object) -> bytes:
    """The JSON of an answer; with a line feed at its end, as Go's encoder leaves it."""
    return encoded(value) + b"\n"


def encoded(value: object) -> bytes:
    """The same without the line feed. What is no UTF-8, as in names of files, becomes U+FFFD."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(value)))


def decode(data: bytes) -> Any:
    """One JSON value as plain Python objects.

    Raises:
        JsonSyntaxError: `EOF` for nothing at all, `unexpected EOF` for a value cut short.
        TrailingContentError: something follows the value.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        end = _Scanner(data).value_end()
    if data[end:].strip(_SPACE):
        raise TrailingContentError("unexpected content after JSON")
    return _mended(data)


def _mended(data: bytes) -> Any:
    """What Go takes and msgspec does not: bad UTF-8 and lone surrogates become U+FFFD."""
    return _without_surrogates(_loads(data.decode("utf-8", "replace")))


def _without_surrogates(decoded: object) -> Any:
    return _loads(
        json.dumps(decoded, ensure_ascii=False)
        .encode("utf-16", "surrogatepass")
        .decode("utf-16", "replace")
    )


def _loads(text: str) -> Any:
    return json.loads(text, parse_int=_whole_number)


def _whole_number(text: str) -> int | float:
    """What no integer of Go's takes need not be one here: of endless ones Python makes none."""
    return int(text) if len(text) <= _LONGEST_INTEGER else float(text)


def quote(text: str) -> str:
    """Roughly strconv.Quote: good for what stands in error texts."""
    return json.dumps(text, ensure_ascii=False)


class _Scanner:
    """Walks one value and finds where it ends, or what is wrong with it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def value_end(self) -> int:
        """Where the first value ends."""
        if not self._data.strip(_SPACE):
            raise JsonSyntaxError("EOF")
        self._value()
        return self._at

    def _value(self) -> None:
        """One value with all that it contains; a stack of closing brackets stands for recursion."""
        stack: list[int] = []
        while True:
            byte = self._next()
            if byte in b"{[":
                stack.append(byte + 2)  # '{' + 2 is '}', '[' + 2 is ']'
                if len(stack) > _MAX_DEPTH:
                    self._fail(byte, "exceeded max depth")
                if self._opened_nonempty(byte):
                    continue
                stack.pop()
            else:
                self._scalar(byte)
            while stack:
                closes = stack[-1]
                where = "after object key:value pair" if closes == 0x7D else "after array element"
                byte = self._next()
                if byte == 0x2C:
                    if closes == 0x7D:
                        self._key(self._next())
                    break
                if byte != closes:
                    self._fail(byte, where)
                stack.pop()
            else:
                return

    def _opened_nonempty(self, byte: int) -> bool:
        """After '{' or '[': whether something is in it. Stands before the first value then."""
        if byte == 0x5B:
            if self._peek() == 0x5D:
                self._at += 1
                return False
            return True
        byte = self._next()
        if byte == 0x7D:
            return False
        self._key(byte)
        return True

    def _key(self, byte: int) -> None:
        if byte != 0x22:
            self._fail(byte, "looking for beginning of object key string")
        self._string()
        byte = self._next()
        if byte != 0x3A:
            self._fail(byte, "after object key")

    def _scalar(self, byte: int) -> None:
        if byte == 0x22:
            self._string()
        elif byte in b"-0123456789":
            self._number(byte)
        else:
            for word in (b"true", b"false", b"null"):
                if byte == word[0]:
                    self._word(word)
                    return
            self._fail(byte, "looking for beginning of value")

    def _word(self, word: bytes) -> None:
        for expected in word[1:]:
            byte = self._byte()
            if byte != expected:
                self._fail(byte, f"in literal {word.decode()} (expecting {_quoted(expected)})")

    def _string(self) -> None:
        while True:
            run = _STRING_RUN.match(self._data, self._at)
            assert run is not None
            self._at = run.end()
            byte = self._byte()
            if byte == 0x22:
                return
            if byte != 0x5C:
                self._fail(byte, "in string literal")
            byte = self._byte()
            if byte == 0x75:
                for _ in range(4):
                    byte = self._byte()
                    if byte not in _HEX:
                        self._fail(byte, "in \\u hexadecimal character escape")
            elif byte not in _ESCAPES:
                self._fail(byte, "in string escape code")

    def _number(self, byte: int) -> None:
        if byte == 0x2D:
            byte = self._byte()
            if byte not in _DIGITS:
                self._fail(byte, "in numeric literal")
        if byte != 0x30:
            self._digits()
        if self._here() == 0x2E:
            self._at += 1
            byte = self._byte()
            if byte not in _DIGITS:
                self._fail(byte, "after decimal point in numeric literal")
            self._digits()
        if self._here() in {0x65, 0x45}:
            self._at += 1
            byte = self._byte()
            if byte in b"+-":
                byte = self._byte()
            if byte not in _DIGITS:
                self._fail(byte, "in exponent of numeric literal")
            self._digits()

    def _digits(self) -> None:
        run = _DIGIT_RUN.match(self._data, self._at)
        assert run is not None
        self._at = run.end()

    def _here(self) -> int | None:
        return self._data[self._at] if self._at < len(self._data) else None

    def _peek(self) -> int | None:
        while self._at < len(self._data) and self._data[self._at] in _SPACE:
            self._at += 1
        return self._here()

    def _next(self) -> int:
        """The next byte that is not white space."""
        self._peek()
        return self._byte()

    def _byte(self) -> int:
        if self._at >= len(self._data):
            raise JsonSyntaxError("unexpected EOF")
        self._at += 1
        return self._data[self._at - 1]

    def _fail(self, byte: int, where: str) -> NoReturn:
        raise JsonSyntaxError(f"invalid character {_quoted(byte)} {where}")


def _quoted(byte: int) -> str:
    """A byte as Go's scanner shows it."""
    if byte == 0x27:
        return "'\\''"
    if byte == 0x22:
        return "'\"'"
    text = chr(byte)
    if byte < 0x20 or 0x7F <= byte < 0xA0:
        short = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}
        text = short.get(byte) or (f"\\x{byte:02x}" if byte < 0x80 else f"\\u{byte:04x}")
    elif byte == 0x5C:
        text = "\\\\"
    return f"'{text}'"
