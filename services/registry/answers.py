"""Answers of registries: their bodies in bounded memory, and how long they ask to wait."""

from __future__ import annotations

import datetime
import email.utils

import httpx

from services.errors import EngineError

from .errors import MAX_BODY_BYTES


async def read_bounded(response: httpx.Response, limit_bytes: int, what: str) -> bytes:
    """The whole body. EngineError when it is larger than `limit_bytes`."""
    data = bytearray()
    async for piece in response.aiter_raw():
        data += piece
        if len(data) > limit_bytes:
            raise EngineError(f"{what} is larger than {limit_bytes} bytes")
    return bytes(data)


async def beginning_of(response: httpx.Response) -> bytes:
    """The beginning of a body, for its text."""
    data = bytearray()
    async for piece in response.aiter_raw():
        data += piece
        if len(data) >= MAX_BODY_BYTES:
            break
    return bytes(data[:MAX_BODY_BYTES])


def retry_after_s(response: httpx.Response) -> float | None:
    """Seconds that the server asks us to wait: a number, or a date. Never negative."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        at = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.UTC)
    return max(0.0, (at - datetime.datetime.now(datetime.UTC)).total_seconds())
