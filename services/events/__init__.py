"""The engine's events: what one is, their history on disk, and the bus that tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from .bus import EventBus as EventBus
    from .filters import EventFilters as EventFilters
    from .history import MIGRATION as MIGRATION
    from .model import Event as Event
    from .model import Gap as Gap
    from .stream import EventStream as EventStream
    from .stream import TaskEventHandler as TaskEventHandler
    from .subscription import Subscription as Subscription

__getattr__ = lazily.exports(
    __name__,
    {
        "bus": "EventBus",
        "filters": "EventFilters",
        "history": "MIGRATION",
        "model": "Event Gap",
        "stream": "EventStream TaskEventHandler",
        "subscription": "Subscription",
    },
)
