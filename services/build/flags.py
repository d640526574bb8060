"""The flags of instructions: which ones each has, and their values. Pure.

Source: Docker documentation, "Dockerfile reference"; BuildKit, frontend/dockerfile/instructions
(bflag.go, parse.go), for what is refused and in which words.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, assert_never

from services.dockerfile import DockerfileError, Line


class Flag(enum.Enum):
    """What a flag takes: a truth, which may be left out; a text; texts, one each time."""

    TRUTH = enum.auto()
    TEXT = enum.auto()
    TEXTS = enum.auto()


_OF_COPIES: Final = {
    "chown": Flag.TEXT,
    "chmod": Flag.TEXT,
    "link": Flag.TRUTH,
    "exclude": Flag.TEXTS,
}
_FLAGS: Final[Mapping[str, Mapping[str, Flag]]] = MappingProxyType(
    {
        "ADD": {
            **_OF_COPIES,
            "checksum": Flag.TEXT,
            "keep-git-dir": Flag.TRUTH,
            "unpack": Flag.TRUTH,
        },
        "COPY": {**_OF_COPIES, "from": Flag.TEXT, "parents": Flag.TRUTH},
        "FROM": {"platform": Flag.TEXT},
        "HEALTHCHECK": dict.fromkeys(
            ("interval", "timeout", "start-period", "start-interval", "retries"), Flag.TEXT
        ),
        "RUN": {"mount": Flag.TEXTS, "network": Flag.TEXT, "security": Flag.TEXT},
    }
)


def flags_of(line: Line) -> dict[str, str]:
    """An instruction's flags that have one value each, by name; a truth is "true" or "false".

    Raises:
        DockerfileError: a flag that it does not have, or has twice, or with no such value.
    """
    found: dict[str, str] = {}
    for name, kind, value in _read(line):
        if kind is Flag.TEXTS:
            continue
        if name in found:
            raise DockerfileError(f"duplicate flag specified: {name}", line.number)
        found[name] = value
    return found


def values_of(line: Line, name: str) -> list[str]:
    """The values of a flag that may be given several times. Raises as `flags_of`."""
    return [value for one, _, value in _read(line) if one == name]


def _read(line: Line) -> Iterator[tuple[str, Flag, str]]:
    known = _FLAGS.get(line.keyword, {})
    for flag in line.flags:
        name, equals, value = flag.removeprefix("--").partition("=")
        kind = known.get(name)
        match kind:
            case None:
                raise DockerfileError(f"unknown flag: {name}", line.number)
            case Flag.TRUTH:
                yield name, kind, _truth(name, value if equals else "true", line.number)
            case Flag.TEXT | Flag.TEXTS:
                if not equals:
                    raise DockerfileError(f"missing a value on flag: {name}", line.number)
                yield name, kind, value
            case _:
                assert_never(kind)


def _truth(name: str, value: str, number: int) -> str:
    if not value:
        raise DockerfileError(f"missing a value on flag: {name}", number)
    if value.lower() not in ("true", "false"):
        raise DockerfileError(f"expecting boolean value for flag {name}, not: {value}", number)
    return value.lower()
