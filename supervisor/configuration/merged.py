"""Flags and daemon.json as one: the value of every option.

Source: moby, daemon/config (what counts as a conflict, and its sentence).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast

from .option import Kind, Option, Value
from .options import OPTIONS
from .values import Ulimit

_Checked = TypeVar("_Checked")


def refuse_conflicts(given: Mapping[str, Value], from_file: Mapping[str, Value]) -> None:
    """An option stands in one place only, or nobody could say which holds after a reload.

    Raises:
        ValueError: with dockerd's sentence.
    """
    both = [
        f"{option.key}: (from flag: {_show(option, given[flag])}, "
        f"from file: {_show(option, from_file[flag])})"
        for flag, option in OPTIONS.items()
        if flag in given and flag in from_file and option.kind is not Kind.RUNTIMES
    ]
    if both:
        raise ValueError(
            "the following directives are specified both as a flag and in the configuration file: "
            + ", ".join(both)
        )


def _show(option: Option, value: Value) -> str:
    """A value as Go prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, tuple):
        return str(value)
    if option.kind is Kind.MAP:
        pairs = cast("tuple[tuple[str, str], ...]", value)
        return "map[" + " ".join(f"{key}:{item}" for key, item in sorted(pairs)) + "]"
    return "[" + " ".join(_show_item(item) for item in value) + "]"


def _show_item(item: object) -> str:
    return f"{item.name}={item.soft}:{item.hard}" if isinstance(item, Ulimit) else str(item)


class Merged:
    """The value of every option: from a flag, else from the file, else its default."""

    def __init__(self, given: Mapping[str, Value], from_file: Mapping[str, Value]) -> None:
        self._values: dict[str, Value] = {
            flag: given.get(flag, from_file.get(flag, option.default))
            for flag, option in OPTIONS.items()
        }
        self._given = given.keys() | from_file.keys()

    def is_given(self, flag: str) -> bool:
        """Whether it was said at all, be it with its default."""
        return flag in self._given

    def raw(self, flag: str) -> Value:
        """The value, of whatever type."""
        return self._values[flag]

    def text(self, flag: str) -> str:
        """The value of a STRING."""
        return self._checked(flag, str)

    def number(self, flag: str) -> int:
        """The value of an INT."""
        return self._checked(flag, int)

    def switch(self, flag: str) -> bool:
        """The value of a BOOL."""
        return self._checked(flag, bool)

    def texts(self, flag: str) -> tuple[str, ...]:
        """The value of any kind of list of texts."""
        return cast("tuple[str, ...]", self._checked(flag, tuple))

    def pairs(self, flag: str) -> tuple[tuple[str, str], ...]:
        """The value of a MAP; the last one of a name counts."""
        return tuple(dict(cast("tuple[tuple[str, str], ...]", self._values[flag])).items())

    def _checked(self, flag: str, kind: type[_Checked]) -> _Checked:
        value = self._values[flag]
        assert isinstance(value, kind), flag
        return value
