"""Trying again: what is worth it, how often, and how long to wait before. Pure but for the waiting.

Source: moby, distribution/xfer: an error that will come again ends it at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from services.errors import EngineError

from .errors import RegistryError, TlsRefused, Unreachable

T = TypeVar("T")

FIRST_DELAY_S: Final = 0.5
MAX_DELAY_S: Final = 20.0
MAX_RETRY_AFTER_S: Final = 60.0  # a registry that wants more is told to the client instead

Waiting = Callable[[float], None]
"""Told how many seconds will pass before the next try."""


def delay_s(error: EngineError, failures: int) -> float | None:
    """Seconds to wait after `failures` in a row, the last one `error`; None: do not try again."""
    backoff_s = min(FIRST_DELAY_S * 2.0 ** (failures - 1), MAX_DELAY_S)
    if isinstance(error, TlsRefused):
        return None
    if isinstance(error, Unreachable):
        return backoff_s
    if not isinstance(error, RegistryError) or not error.may_pass:
        return None
    wanted_s = error.retry_after_s or 0.0
    return None if wanted_s > MAX_RETRY_AFTER_S else max(backoff_s, wanted_s)


async def retrying(
    call: Callable[[], Awaitable[T]],
    *,
    attempts: int,
    waiting: Waiting | None = None,
) -> T:
    """What `call` returns, tried up to `attempts` times."""
    failures = 0
    while True:
        try:
            return await call()
        except EngineError as error:
            failures += 1
            pause_s = delay_s(error, failures)
            if pause_s is None or failures >= attempts:
                raise
        if waiting is not None:
            waiting(pause_s)
        await trio.sleep(pause_s)
