"""Server-sent events, as browsers read them. Source: HTML Living Standard, 9.2."""

from __future__ import annotations

from typing import Final

import msgspec

CONTENT_TYPE: Final = "text/event-stream"
HEARTBEAT: Final = b": still here\n\n"
HEARTBEAT_S: Final = 15.0
"""A reader that has gone is noticed, and one that is there knows that we are."""

RETRY_MS: Final = 1000
OPENING: Final = f"retry: {RETRY_MS}\n\n".encode("ascii")
"""What a stream begins with: how long a reader waits before it comes again."""


def event(kind: str, data: object, *, id: str = "") -> bytes:
    """One event with a JSON value; JSON has no line feeds, so it is one line."""
    head = f"event: {kind}\n" + (f"id: {id}\n" if id else "")
    return head.encode("ascii") + b"data: " + msgspec.json.encode(data) + b"\n\n"
