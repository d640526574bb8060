"""Which volumes a list or a prune is about. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from services.matching import has_labels, matches_loosely

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
        if self.names and not any(matches_loosely(volume.name, name) for name in self.names):
            return False
        own = volume.labels
        if self.not_labels and has_labels(own, self.not_labels):
            return False
        return has_labels(own, self.labels)
