"""What nft lists of a table, read so that two listings can be compared.

Both come from the same library, so that nobody has to know how it writes a rule: one is of the
table that is there, the other of the table that is meant, in a namespace of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_HANDLE: Final = re.compile(r" # handle \d+$")
_BLOCK: Final = re.compile(r"(chain|map|set) (.+) \{$")
_ANONYMOUS: Final = re.compile(r"\{ ([^{}]*) \}")


@dataclass(slots=True)
class _Object:
    """A chain with its rules in order, or a map or set with its elements in any."""

    kind: str
    lines: list[str] = field(default_factory=list)
    elements: set[str] = field(default_factory=set)


Listing = Mapping[str, _Object]
"""By kind and name: `chain forward`."""


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A thing of the table, and what is wrong with it, for people."""

    what: str
    text: str


def read_listing(text: str) -> Listing:
    """The objects of the one table in `text`; the sets within rules have no order either."""
    found: dict[str, _Object] = {}
    current: _Object | None = None
    elements = ""
    for raw in text.splitlines():
        line = _HANDLE.sub("", raw.strip())
        if elements or line.startswith("elements = "):
            elements += f" {line}"
            if line.endswith("}") and current is not None:
                current.elements.update(_elements(elements))
                elements = ""
        elif match := _BLOCK.match(line):
            current = found[f"{match[1]} {match[2]}"] = _Object(match[1])
        elif line == "}":
            current = None
        elif line and current is not None:
            current.lines.append(_ANONYMOUS.sub(_sorted, line))
    return found


def differences(meant: Listing, there: Listing) -> list[Difference]:
    """What of `there` is not as it is `meant`."""
    return sorted(_differences(meant, there))


def _differences(meant: Listing, there: Listing) -> Iterator[Difference]:
    for name in meant.keys() - there.keys():
        yield Difference(name, "it is missing from the firewall table")
    for name in there.keys() - meant.keys():
        yield Difference(name, "it is in the firewall table, and nobody's")
    for name in meant.keys() & there.keys():
        ours, theirs = meant[name], there[name]
        for element in ours.elements - theirs.elements:
            yield Difference(f"{name} {element}", "it is missing from the firewall table")
        for element in theirs.elements - ours.elements:
            yield Difference(f"{name} {element}", "it is in the firewall table, and nobody's")
        yield from _of_lines(name, ours.lines, theirs.lines)


def _of_lines(name: str, ours: list[str], theirs: list[str]) -> Iterator[Difference]:
    missing = [line for line in ours if line not in theirs]
    added = [line for line in theirs if line not in ours]
    for line in missing:
        yield Difference(name, f"it lacks the rule: {line}")
    for line in added:
        yield Difference(name, f"it has a rule that nobody made: {line}")
    if not missing and not added and ours != theirs:
        yield Difference(name, "its rules are in another order, or there twice")


def _elements(text: str) -> list[str]:
    inner = text.partition("{")[2].rpartition("}")[0]
    return [" ".join(each.split()) for each in inner.split(",") if each.strip()]


def _sorted(match: re.Match[str]) -> str:
    return f"{{ {', '.join(sorted(each.strip() for each in match[1].split(',')))} }}"
