"""The functions that every template has: Go's own as far as they make sense here, and swarm's join.

Source: Go, text/template, "Functions"; swarmkit, template/template.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

Function = Callable[..., object]

_VERB: Final = re.compile(r"%(?P<flags>[-+0# ]*\d*(?:\.\d+)?)(?P<verb>[a-zA-Z%])")


def is_true(value: object) -> bool:
    """Go's truth: what is empty or zero is false."""
    return bool(value)


def go_text(value: object) -> str:
    """As Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{' '.join(map(go_text, value))}]"
    return str(value)


def _index(values: Any, *keys: Any) -> object:
    for key in keys:
        if isinstance(values, Mapping):
            values = values.get(key, "")
        elif isinstance(key, int) and not 0 <= key < len(values):
            raise ValueError(f"index out of range: {key}")
        else:
            values = values[key]
    return values


def _slice(values: Any, start: int = 0, end: int | None = None) -> object:
    if not 0 <= start <= (len(values) if end is None else end) <= len(values):
        raise ValueError("index out of range")
    return values[start:end]


def _printf(form: str, *values: object) -> str:
    left = list(values)

    def put(match: re.Match[str]) -> str:
        flags, verb = match["flags"], match["verb"]
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        value = left.pop(0)
        match verb:
            case "s" | "v":
                return f"%{flags}s" % go_text(value)
            case "q":
                return json.dumps(go_text(value), ensure_ascii=False)
            case "d" | "x" | "X" | "o" | "f" | "g" | "e" if isinstance(value, int | float):
                return f"%{flags}{verb}" % value
            case "t" if isinstance(value, bool):
                return go_text(value)
        return f"%!{verb}({go_text(value)})"

    if any(
        int(number) > 1000
        for number in re.findall(r"\d+", "".join(m[1] for m in _VERB.finditer(form)))
    ):
        raise ValueError("width is too large")
    return _VERB.sub(put, form)


def _eq(first: object, *others: object) -> bool:
    return any(type(first) is type(other) and first == other for other in others)


def _less(first: Any, second: Any) -> bool:
    if isinstance(first, str) is not isinstance(second, str):
        raise ValueError("incompatible types for comparison")
    return bool(first < second)


def _print(*values: object) -> str:
    """With spaces between those that are no strings, as Go's Sprint."""
    text, before_is_text = "", True
    for value in values:
        is_text = isinstance(value, str)
        gap = "" if before_is_text or is_text or not text else " "
        text, before_is_text = f"{text}{gap}{go_text(value)}", is_text
    return text


FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {
        "eq": _eq,
        "ge": lambda a, b: not _less(a, b),
        "gt": lambda a, b: _less(b, a),
        "index": _index,
        "join": lambda separator, *parts: separator.join(parts),
        "le": lambda a, b: not _less(b, a),
        "len": len,
        "lt": _less,
        "ne": lambda a, b: not _eq(a, b),
        "not": lambda value: not is_true(value),
        "print": _print,
        "printf": _printf,
        "println": lambda *values: " ".join(map(go_text, values)) + "\n",
        "slice": _slice,
    }
)
