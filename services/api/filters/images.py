"""The `filters` of GET /images/json as the image store's values.

Source: Engine API, ImageList; refusals as dockerd's filters package words them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from services.api.types.instants import instant_ns
from services.errors import InvalidParameter
from services.images import ImageFilters
from services.images.prune import PruneFilters

KNOWN: Final = frozenset({"before", "dangling", "label", "label!", "reference", "since", "until"})
PRUNE_KNOWN: Final = frozenset({"dangling", "label", "label!", "until"})
_TRUTH: Final = {"1": True, "true": True, "0": False, "false": False}


def image_filters(filters: Mapping[str, Sequence[str]], now_ns: int) -> ImageFilters:
    """What the parsed parameter asks for.

    Raises:
        InvalidParameter: an unknown filter, or a value that it cannot have.
    """
    for name in filters:
        if name not in KNOWN:
            raise InvalidParameter(f"invalid filter '{name}'")
    labels, not_labels = _labels(filters)
    until = [instant_ns(text, now_ns) for text in filters.get("until", ())]
    return ImageFilters(
        dangling=_truth("dangling", filters["dangling"]) if filters.get("dangling") else None,
        labels=labels,
        not_labels=not_labels,
        before=tuple(filters.get("before", ())),
        since=tuple(filters.get("since", ())),
        references=tuple(filters.get("reference", ())),
        until_ns=min(until, default=None),
    )


def image_prune_filters(filters: Mapping[str, Sequence[str]], now_ns: int) -> PruneFilters:
    """What POST /images/prune is to take; without `dangling`, only images without a name.

    Raises:
        InvalidParameter: an unknown filter, or a value that it cannot have.
    """
    for name in filters:
        if name not in PRUNE_KNOWN:
            raise InvalidParameter(f"invalid filter '{name}'")
    asked = image_filters(filters, now_ns)
    if len(filters.get("until", ())) > 1:
        raise InvalidParameter("more than one until filter specified")
    return PruneFilters(every=asked.dangling is False, filters=replace(asked, dangling=None))


def _truth(name: str, values: Sequence[str]) -> bool:
    truths = {_TRUTH.get(value) for value in values}
    truth = truths.pop() if len(truths) == 1 else None
    if truth is None:
        raise InvalidParameter(f"invalid filter '{name}=[{' '.join(values)}]'")
    return truth


def _labels(filters: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels to have and not to have; `label=key!=value` is a not, as is `label!=key`."""
    wanted: tuple[list[str], list[str]] = ([], [])
    for name, negated in (("label", False), ("label!", True)):
        for text in filters.get(name, ()):
            key, equals, value = text.partition("=")
            flipped = key.endswith("!") and bool(equals)
            label = f"{key.removesuffix('!')}={value}" if flipped else text
            wanted[negated != flipped].append(label)
    return tuple(wanted[0]), tuple(wanted[1])
