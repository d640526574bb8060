"""The `filters` of networks' list and prune as the networks service's values.

Source: Engine API, NetworkList, NetworkPrune; refusals as dockerd words them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from services.api.types.instants import instant_ns
from services.errors import InvalidParameter
from services.networks import NetworkFilters

KNOWN: Final = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
KNOWN_OF_PRUNE: Final = frozenset({"label", "label!", "until"})
_TRUTHS: Final[Mapping[str, bool]] = {"1": True, "true": True, "0": False, "false": False}


def list_filters(filters: Mapping[str, Sequence[str]]) -> NetworkFilters:
    """What the parsed parameter of a list asks for.

    Raises:
        InvalidParameter: an unknown filter, or a value that is none.
    """
    _check_known(filters, KNOWN)
    return NetworkFilters(
        names=tuple(filters.get("name", ())),
        ids=tuple(filters.get("id", ())),
        drivers=tuple(filters.get("driver", ())),
        scopes=tuple(filters.get("scope", ())),
        labels=tuple(filters.get("label", ())),
        is_dangling=_dangling(filters.get("dangling", ())),
        is_builtin=_builtin(filters.get("type", ())),
    )


def prune_filters(filters: Mapping[str, Sequence[str]], now_ns: int) -> NetworkFilters:
    """What the parsed parameter of a prune asks for. Raises as `list_filters`."""
    _check_known(filters, KNOWN_OF_PRUNE)
    until = filters.get("until", ())
    if len(until) > 1:
        raise InvalidParameter("more than one until filter specified")
    return NetworkFilters(
        labels=tuple(filters.get("label", ())),
        not_labels=tuple(filters.get("label!", ())),
        is_dangling=True,
        until_ns=instant_ns(until[0], now_ns) if until else None,
    )


def _check_known(filters: Mapping[str, Sequence[str]], known: frozenset[str]) -> None:
    for name in filters:
        if name not in known:
            raise InvalidParameter(f"invalid filter '{name}'")


def _dangling(values: Sequence[str]) -> bool | None:
    if len(values) > 1:
        raise InvalidParameter('got more than one value for filter key "dangling"')
    if not values:
        return None
    if values[0] not in _TRUTHS:
        raise InvalidParameter(
            'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'
        )
    return _TRUTHS[values[0]]


def _builtin(values: Sequence[str]) -> bool | None:
    """Both kinds at once are all networks."""
    for value in values:
        if value not in ("builtin", "custom"):
            raise InvalidParameter(f"invalid filter: 'type'='{value}'")
    return None if len(values) != 1 else values[0] == "builtin"
