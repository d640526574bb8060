"""What a template is made of, once it was read.

Left out of Go's language: define, block, template, break, continue, methods, complex numbers and
format verbs beyond the usual ones. Whoever writes them is told so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, a number or a boolean."""

    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Word:
    """A function's name."""

    name: str


@dataclass(frozen=True, slots=True)
class Path:
    """`.A.B`, `$x.A`, `(...).A`: fields below the dot ("."), a variable ("$x") or a result."""

    base: str | Pipeline
    fields: tuple[str, ...]


Operand = Literal | Word | Path


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands, each the last argument of the next; the result may go into a variable.

    `is_new`: the variable is declared by it (`:=`), not changed (`=`). A range may have two.
    """

    commands: tuple[tuple[Operand, ...], ...]
    line: int
    variables: tuple[str, ...] = ()
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Text:
    """Itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """The text of a pipeline's result; none if it goes into a variable."""

    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Branch:
    """`if`, `with` or `range` (`kind`): `body` for what is not empty, else `otherwise`."""

    kind: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


Node = Text | Action | Branch
