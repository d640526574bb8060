"""Events as a stream of JSON values: which framing a client wants, what a version of it may see.

Source: Engine API, SystemEvents; dockerd's system router. Its content types: one value a line, or
RFC 7464 sequences, or what says JSON and is one value a line.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from services.api.types.times import unix_ns
from services.api.versions.version import ApiVersion
from services.api.wire.query import Query
from services.api.wire.responses import JSON
from services.errors import InvalidParameter
from services.events import Event, EventBus, EventFilters, Gap, Subscription

NDJSON: Final = "application/x-ndjson"
JSON_SEQUENCE: Final = "application/json-seq"
IMAGE_CREATE_SINCE: Final = ApiVersion(1, 46)
LEGACY_FIELDS_BELOW: Final = ApiVersion(1, 52)
LOST_ACTION: Final = "events-lost"
"""Of the event of type `daemon` that stands for events that a slow reader missed. Its attribute
`count` says how many, whether or not the reader's filters would have let them pass."""

_OFFERS: Final = (NDJSON, JSON_SEQUENCE)
_RECORD_SEPARATOR: Final = b"\x1e"
_QUALITY: Final = re.compile(r"\s*q=(\d(?:\.\d{0,3})?)\s*\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """What a request for events asks for. None is no limit."""

    since_ns: int | None
    until_ns: int | None
    filters: EventFilters


def parse_event_query(query: Query) -> EventQuery:
    """Read the parameters of a request.

    Raises:
        InvalidParameter: a time or the filters cannot be read, or the times are in wrong order.
    """
    since_ns, until_ns = (_instant(query, name) for name in ("since", "until"))
    if until_ns is not None and since_ns is not None and until_ns < since_ns:
        raise InvalidParameter(
            f"`since` time ({query.text('since')}) cannot be after `until` time "
            f"({query.text('until')})"
        )
    filters = EventFilters(query.filters())
    return EventQuery(since_ns=since_ns, until_ns=until_ns, filters=filters)


def choose_content_type(accept: str) -> str:
    """Of the framings on offer the one that the Accept header prefers; JSON without a wish."""
    best, best_rank = JSON, (0.0, 0)
    for offer in _OFFERS:
        for wish in accept.split(","):
            media_range, _, parameters = wish.partition(";")
            rank = _quality(parameters), _specificity(media_range.strip().lower(), offer)
            if all(rank) and rank > best_rank:
                best, best_rank = offer, rank
    return best


class EventEncoder:
    """Events for one client. The gap mark names the daemon by its id and its host's name."""

    def __init__(
        self, *, version: ApiVersion, content_type: str, engine_id: str, hostname: str
    ) -> None:
        self._version = version
        self._prefix = _RECORD_SEPARATOR if content_type == JSON_SEQUENCE else b""
        self._engine_id = engine_id
        self._hostname = hostname

    def encode(self, one: Event | Gap) -> bytes:
        """One value with its framing; b"" for what the client's version does not know."""
        event = self._lost(one) if isinstance(one, Gap) else one
        is_create = event.type == "image" and event.action == "create"
        if is_create and self._version < IMAGE_CREATE_SINCE:
            return b""
        wire = event.legacy_wire if self._version < LEGACY_FIELDS_BELOW else event.wire
        return b"%b%b\n" % (self._prefix, wire)

    def _lost(self, gap: Gap) -> Event:
        """What stands for the events that were missed; see LOST_ACTION."""
        return Event(
            type="daemon",
            action=LOST_ACTION,
            actor_id=self._engine_id,
            attributes={"name": self._hostname, "count": str(gap.missed)},
            time_ns=time.time_ns(),
        )


@asynccontextmanager
async def encoded_events(
    bus: EventBus, asked: EventQuery, encoder: EventEncoder
) -> AsyncIterator[AsyncIterable[bytes]]:
    """What a client gets, subscribed from the moment the block begins."""
    async with bus.subscribe(
        since_ns=asked.since_ns, until_ns=asked.until_ns, filters=asked.filters
    ) as channel:
        yield _encoded(channel, encoder)


async def _encoded(channel: Subscription, encoder: EventEncoder) -> AsyncIterator[bytes]:
    """All that is at hand in one piece."""
    while True:
        try:
            some = await channel.receive_some()
        except trio.EndOfChannel:
            return
        part = b"".join([encoder.encode(one) for one in some])
        if part:
            yield part


def _instant(query: Query, name: str) -> int | None:
    text = query.text(name)
    return unix_ns(text, name) if text else None


def _quality(parameters: str) -> float:
    """The q of a media range: 1 unless it says else; 0 is "not this"."""
    for parameter in parameters.split(";"):
        found = _QUALITY.match(parameter)
        if found is not None:
            return float(found[1])
    return 1.0


def _specificity(media_range: str, offer: str) -> int:
    """How closely a media range means `offer`; 0: not at all."""
    if media_range == offer:
        return 3
    if media_range.endswith("/*") and offer.startswith(media_range[:-1]):
        return 2
    return 1 if media_range == "*/*" else 0
