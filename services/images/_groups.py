"""Errors of a nursery, taken out of their group before they leave the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from services.errors import EngineError, leaves_of


@contextmanager
def single_error() -> Iterator[None]:
    """Raise what a nursery in this block raised as itself when it is one error.

    Several are one when all are the engine's own: the first says what went wrong, the others are
    mostly its echo. A group with a bug in it stays a group, so that nothing is hidden.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        errors = leaves_of(group)
        if len(errors) == 1 or all(isinstance(error, EngineError) for error in errors):
            raise errors[0] from None
        raise
