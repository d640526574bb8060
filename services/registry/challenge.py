"""The WWW-Authenticate field of a registry's 401, taken apart. Pure functions of text.

Source: RFC 9110, 11.6.1; distribution, docs/spec/auth/token.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_CHARS: Final = 8192
_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SCHEME: Final = re.compile(rf"[\s,]*({_WORD})(?=\s|,|\Z)")
_PARAMETER: Final = re.compile(
    rf'[\s,]*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}|[^\s,"]+))', re.DOTALL
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to authenticate that a server offers; scheme and names are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges in all fields of that name, in order; what does not parse ends its field."""
    return tuple(challenge for value in values for challenge in _parse(value[:MAX_CHARS]))


def _parse(value: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    position = 0
    while (scheme := _SCHEME.match(value, position)) is not None:
        position = scheme.end()
        parameters: dict[str, str] = {}
        while (found := _PARAMETER.match(value, position)) is not None:
            position = found.end()
            text = found[3] if found[2] is None else _ESCAPE.sub(r"\1", found[2])
            parameters.setdefault(found[1].lower(), text)
        challenges.append(Challenge(scheme=scheme[1].lower(), parameters=parameters))
    return challenges
