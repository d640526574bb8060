"""When it is worth trying again, and how long to wait before."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from services.errors import EngineError
from services.registry.errors import RegistryError, TlsRefused, Unreachable, error_of
from services.registry.retry import MAX_DELAY_S, delay_s, retrying


def refusal(status: int, retry_after_s: float | None = None) -> RegistryError:
    return error_of(status, b"", retry_after_s=retry_after_s)


@pytest.mark.parametrize(
    ("error", "failures", "expected"),
    [
        (Unreachable("x"), 1, 0.5),
        (Unreachable("x"), 3, 2.0),
        (Unreachable("x"), 60, MAX_DELAY_S),
        (TlsRefused("x"), 1, None),
        (refusal(500), 1, 0.5),
        (refusal(429), 2, 1.0),
        (refusal(429, 7.0), 1, 7.0),
        (refusal(429, 0.0), 1, 0.5),
        (refusal(503, 3600.0), 1, None),
        (refusal(404), 1, None),
        (refusal(401), 1, None),
        (EngineError("digest"), 1, None),
    ],
)
def test_the_rule(error: EngineError, failures: int, expected: float | None) -> None:
    """What may pass is tried again, after twice the time, or what the registry asks for."""
    assert delay_s(error, failures) == expected


async def test_attempts_are_counted(autojump_clock: trio.testing.MockClock) -> None:
    """As many as allowed, no more; the last error is the one."""
    calls: list[float] = []
    waits: list[float] = []

    async def call() -> str:
        calls.append(trio.current_time())
        if len(calls) < 3:
            raise Unreachable(str(len(calls)))
        return "here"

    assert await retrying(call, attempts=3, waiting=waits.append) == "here"
    assert waits == [0.5, 1.0]
    calls.clear()
    with pytest.raises(Unreachable, match="2"):
        await retrying(call, attempts=2)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"m"}]}', "manifest unknown: m"),
        (404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}', "blob unknown: blob unknown to registry"),
        (401, b'{"details":"incorrect"}', "unauthorized: incorrect"),
        (401, b"", "unauthorized: authentication required"),
        (429, b"<html>", "toomanyrequests: too many requests"),
        (418, b"\xff\xfe", "unknown: unexpected status code 418: \ufffd\ufffd"),
        (500, b"", "unknown: unexpected status code 500: no text"),
        (500, b'{"errors":[]}', 'unknown: unexpected status code 500: {"errors":[]}'),
    ],
)
def test_texts(status: int, body: bytes, text: str) -> None:
    """The registry's words where it has some."""
    assert str(error_of(status, body)) == text
