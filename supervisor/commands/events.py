"""Server-sent events as a client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; `data` is its JSON, decoded."""

    kind: str
    id: str
    data: Any


def read_events(lines: Iterable[bytes]) -> Iterator[ServerEvent]:
    """The events in an answer's lines; an empty line ends one. Comments and retry are passed over.

    Source: HTML Living Standard, 9.2.6.
    """
    fields: dict[str, str] = {}
    for raw in lines:
        line = raw.decode()
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif not line and "data" in fields:
            kind, id = fields.get("event", "message"), fields.get("id", "")
            yield ServerEvent(kind, id, json.loads(fields["data"]))
            fields = {}
        elif not line:
            fields = {}
