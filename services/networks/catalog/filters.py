"""Which networks a list or a prune is about. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.matching import has_labels, matches_loosely
from services.networks.model import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFilters:
    """All of what is given must hold; of the values of one filter, one (of `labels`, each).

    `labels` and `not_labels` are "key" or "key=value"; a network that has every one of `not_labels`
    is left out. `names` and `ids` match anywhere. `is_dangling`: no container that runs is in it;
    predefined networks never dangle. `is_builtin` None: both kinds.
    """

    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    not_labels: tuple[str, ...] = ()
    is_dangling: bool | None = None
    is_builtin: bool | None = None
    until_ns: int | None = None

    def choose(self, network: Network, is_used: bool) -> bool:
        """Whether `network` is meant."""
        dangles = not network.is_predefined and not is_used
        own = network.labels
        return (
            (self.is_dangling is None or self.is_dangling == dangles)
            and (self.is_builtin is None or self.is_builtin == network.is_predefined)
            and (not self.drivers or network.driver in self.drivers)
            and (not self.scopes or network.scope in self.scopes)
            and _matches(network.name, self.names)
            and _matches(network.id, self.ids)
            and (self.until_ns is None or network.created_at_ns < self.until_ns)
            and not (self.not_labels and has_labels(own, self.not_labels))
            and has_labels(own, self.labels)
        )


def _matches(text: str, patterns: Iterable[str]) -> bool:
    """Docker's loose match: each pattern is a regular expression if it can be."""
    patterns = tuple(patterns)
    return not patterns or any(matches_loosely(text, pattern) for pattern in patterns)
