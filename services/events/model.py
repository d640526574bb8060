"""What an event is, and how the Engine API spells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final

import msgspec

NO_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)  # no slots: the two encodings are kept in __dict__
class Event:
    """Something happened to an object. `EventBus.commit` gives it its number."""

    type: str  # container, image, network, volume, daemon, plugin, builder, node, ...
    action: str  # create, start, die, "exec_create: sh -c ls", "health_status: healthy", ...
    actor_id: str
    attributes: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)
    time_ns: int  # when it happened, since the epoch
    scope: str = "local"  # or "swarm"
    seq: int = 0  # 1, 2, 3, ... in order of commit, over all restarts; 0: not committed yet

    @cached_property
    def wire(self) -> bytes:
        """The event as JSON (Engine API, schema EventMessage), encoded once. API 1.52 and later."""
        return msgspec.json.encode(self._message())

    @cached_property
    def legacy_wire(self) -> bytes:
        """As `wire`, with `id`, `status` and `from`, which clients below API 1.52 rely on.

        Source: moby, daemon/server/router/system, which fills them in for containers and images.
        """
        return msgspec.json.encode(self._legacy_fields() | self._message())

    def _message(self) -> dict[str, object]:
        return {
            "Type": self.type,
            "Action": self.action,
            "Actor": {"ID": self.actor_id, "Attributes": dict(self.attributes)},
            "scope": self.scope,
            "time": self.time_ns // 1_000_000_000,
            "timeNano": self.time_ns,
        }

    def _legacy_fields(self) -> dict[str, object]:
        match self.type:
            case "container":
                fields: dict[str, str] = {
                    "id": self.actor_id,
                    "from": self.attributes.get("image", ""),
                }
            case "image":
                fields = {"id": self.actor_id}
            case _:
                return {}
        # What is empty (of a prune, say) is left out, as Go does.
        return {
            "status": self.action,
            **{name: text for name, text in fields.items() if text},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """In place of events that a reader was too slow for: the history has dropped them."""

    missed: int  # numbers skipped, whether or not the reader's filters would have let them pass
