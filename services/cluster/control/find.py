"""Finding the object that a client means: by id, by name, by the beginning of its id.

Source: moby, daemon/cluster/helpers.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from services.cluster.model.objects import Stored
from services.errors import InvalidParameter, NotFound

T = TypeVar("T", bound=Stored)


def find(
    word: str,
    objects: Mapping[str, T],
    ref: str,
    name_of: Callable[[T], str] = lambda one: one.name,
) -> T:
    """The one object that `ref` means; `word` is what it is called in errors.

    Raises:
        NotFound: none is meant.
        InvalidParameter: several are.
    """
    if not ref:
        raise NotFound(f"{word} {ref} not found")
    found = objects.get(ref)
    if found is not None:
        return found
    matches = [one for one in objects.values() if name_of(one) == ref]
    matches = matches or [one for id_, one in objects.items() if id_.startswith(ref)]
    if not matches:
        raise NotFound(f"{word} {ref} not found")
    if len(matches) > 1:
        raise InvalidParameter(f"{word} {ref} is ambiguous ({len(matches)} matches found)")
    return matches[0]
