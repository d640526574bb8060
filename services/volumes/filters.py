"""Which volumes a list or a prune is about. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .model import LOCAL_DRIVER, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFilters:
    """All of what is given must hold; of the values of one filter, one (of `labels`, each).

    `labels` and `not_labels` are "key" or "key=value"; a volume that has every one of `not_labels`
    is left out. `is_dangling`: no container refers to it. `names` match anywhere in the name.
    """

    names: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    not_labels: tuple[str, ...] = ()
    is_dangling: bool | None = None

    def choose(self, volume: Volume, used: Collection[str]) -> bool:
        """Whether `volume` is meant; `used` are the names that containers refer to."""
        if self.is_dangling is not None and self.is_dangling == (volume.name in used):
            return False
        if self.drivers and LOCAL_DRIVER not in self.drivers:
            return False
        if self.names and not any(_has(volume.name, name) for name in self.names):
            return False
        own = volume.labels
        if self.not_labels and _has_all(own, self.not_labels):
            return False
        return _has_all(own, self.labels)


def _has(text: str, pattern: str) -> bool:
    """Docker's loose match: the pattern is a regular expression if it can be."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def _has_all(own: Mapping[str, str], wanted: Iterable[str]) -> bool:
    for text in wanted:
        key, has_value, value = text.partition("=")
        if key not in own or (has_value and own[key] != value):
            return False
    return True
