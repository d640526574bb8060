"""Dataclasses whose methods are compiled when they are first called, for a quicker start.

The standard library writes each method of a dataclass as source and compiles it while the module is
imported. There are some 370 of them below the daemon, of which its start calls a few: this was a
third of all its imports (100 ms of 300, measured in November 2026 on CPython 3.11).

Only how and when they are compiled changes: the source, and what it means, stay the standard
library's. Where that works differently (from CPython 3.13 on) nothing is done.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any, Final

KNOWN: Final = ((3, 11), (3, 12))  # whose dataclasses compile by `_create_fn(name, args, body)`


def install() -> None:
    """From now on, for every dataclass of this process. Once is enough; again does no harm."""
    create: Callable[..., Any] | None = getattr(dataclasses, "_create_fn", None)
    if sys.version_info[:2] not in KNOWN or create is None or hasattr(create, "compiles_late"):
        return
    dataclasses._create_fn = _late(create)  # type: ignore[attr-defined]


def _late(create: Callable[..., Any]) -> Callable[..., Any]:
    """`create`, putting off its work until the method that it makes is called."""

    def create_late(name: str, args: Any, body: Any, **how: Any) -> Callable[..., Any]:
        made: Callable[..., Any] | None = None

        def method(self: Any, *values: Any, **named: Any) -> Any:
            nonlocal made
            if made is None:
                made = create(name, args, body, **how)
                made.__qualname__ = method.__qualname__
            # The class has the compiled one from the next call on; a subclass finds it there too.
            for owner in type(self).__mro__:
                if owner.__dict__.get(name) is method:
                    type.__setattr__(owner, name, made)
                    break
            return made(self, *values, **named)

        method.__name__ = name
        return method

    create_late.compiles_late = True  # type: ignore[attr-defined]
    return create_late
