"""Which events a reader wants, by dockerd's rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ._reference import familiar_name
from .model import Event

# Keys that hold prefixes of the actor's id or name. They are compared with the actor of every
# event, whatever its type: dockerd does so too.
_ACTOR_KEYS: Final = (
    "daemon",
    "container",
    "plugin",
    "volume",
    "network",
    "node",
    "service",
    "secret",
    "config",
)
# Actions that go on after a colon; wanting one of these makes all `event` values prefixes.
_OPEN_ENDED: Final = frozenset({"health_status", "exec_create", "exec_start"})


class EventFilters:
    """A conjunction over keys, of a disjunction over each key's values (`label`: all of them).

    Keys without values and unknown keys let everything pass.

    Source: moby, daemon/events/filter.go and daemon/internal/filters.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Iterable[str]]) -> None:
        wanted = {key: tuple(values) for key, values in fields.items()}
        self._fields = {key: values for key, values in wanted.items() if values}

    def __bool__(self) -> bool:
        return bool(self._fields)

    def matches(self, event: Event) -> bool:
        """Whether `event` is wanted."""
        return not self._fields or (
            self._matches_action(event.action)
            and self._has("type", event.type)
            and self._has("scope", event.scope)
            and all(self._matches_actor(key, event) for key in _ACTOR_KEYS if key in self._fields)
            and ("image" not in self._fields or self._matches_image(event))
            and self._matches_labels(event.attributes)
        )

    def _has(self, key: str, value: str) -> bool:
        values = self._fields.get(key)
        return not values or value in values

    def _has_prefix(self, key: str, value: str) -> bool:
        values = self._fields.get(key)
        return not values or value.startswith(values)

    def _matches_action(self, action: str) -> bool:
        if _OPEN_ENDED.isdisjoint(self._fields.get("event", ())):
            return self._has("event", action)
        return self._has_prefix("event", action)

    def _matches_actor(self, key: str, event: Event) -> bool:
        name = event.attributes.get("name", "")
        return self._has_prefix(key, event.actor_id) or self._has_prefix(key, name)

    def _matches_image(self, event: Event) -> bool:
        # An image's events carry its name as `name`, a container's its image as `image`.
        name = event.attributes.get("name" if event.type == "image" else "image", "")
        return (
            self._has("image", event.actor_id)
            or self._has("image", name)
            or self._has("image", familiar_name(event.actor_id))
            or self._has("image", familiar_name(name))
        )

    def _matches_labels(self, attributes: Mapping[str, str]) -> bool:
        for wanted in self._fields.get("label", ()):
            key, equals, value = wanted.partition("=")
            if key not in attributes or (equals and attributes[key] != value):
                return False
        return True


EVERYTHING: Final = EventFilters({})
