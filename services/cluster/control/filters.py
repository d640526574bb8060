"""The filters of the cluster's lists: values are beginnings; of several, one must fit.

Source: moby, daemon/cluster/filters.go; swarmkit, manager/controlapi/common.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from services.errors import InvalidParameter

Filters = Mapping[str, Sequence[str]]


def check_known(filters: Filters, *known: str) -> None:
    """Refuse what is no filter of the list.

    Raises:
        InvalidParameter: with dockerd's text.
    """
    for name in filters:
        if name not in known:
            raise InvalidParameter(f"invalid filter '{name}'")


def begins(text: str, prefixes: Sequence[str]) -> bool:
    """Whether `text` begins with one of them; true of none at all."""
    return not prefixes or text.startswith(tuple(prefixes))


def is_one_of(text: str, values: Iterable[str]) -> bool:
    """Whether `text` is one of them; true of none at all."""
    values = tuple(values)
    return not values or text in values


def has_labels(own: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Whether each "key" or "key=value" holds. An empty value fits any."""
    for text in wanted:
        key, _, value = text.partition("=")
        if key not in own or (value and own[key] != value):
            return False
    return True
