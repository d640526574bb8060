"""The `filters` of POST /containers/prune as the containers service's values.

Source: Engine API, ContainerPrune; refusals as dockerd words them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from services.api.types.instants import instant_ns
from services.containers.prune import PruneFilters
from services.errors import InvalidParameter

KNOWN: Final = frozenset({"label", "label!", "until"})


def prune_filters(filters: Mapping[str, Sequence[str]], now_ns: int) -> PruneFilters:
    """What the parsed parameter asks for.

    Raises:
        InvalidParameter: an unknown filter, or a time that is none.
    """
    for name in filters:
        if name not in KNOWN:
            raise InvalidParameter(f"invalid filter '{name}'")
    until = filters.get("until", ())
    if len(until) > 1:
        raise InvalidParameter("more than one until filter specified")
    return PruneFilters(
        labels=tuple(filters.get("label", ())),
        not_labels=tuple(filters.get("label!", ())),
        until_ns=instant_ns(until[0], now_ns) if until else None,
    )
