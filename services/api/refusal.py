"""An answer given in place of the app's, before the routes are there: no quart in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from services.api.asgi import Send
from services.errors import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidParameter,
    NotFound,
    NotSupported,
)

Header = tuple[bytes, bytes]

_STATUS_OF: Final[Mapping[type[EngineError], int]] = MappingProxyType(
    {InvalidParameter: 400, Forbidden: 403, NotFound: 404, Conflict: 409, NotSupported: 501}
)


class Refused(Exception):
    """The client has been told; whoever works on its request is to stop."""


def refusal_status(error: EngineError) -> int:
    """As `services.api.errors.status_of`, for what gates raise."""
    return next((_STATUS_OF[cls] for cls in type(error).__mro__ if cls in _STATUS_OF), 500)


async def refuse(send: Send, error: EngineError, identity: Sequence[tuple[str, str]]) -> None:
    """Answer with an error, as the routes would."""
    body = msgspec.json.encode({"message": str(error)}) + b"\n"
    own = [(name.encode(), value.encode()) for name, value in identity]
    headers = [(b"Content-Type", b"application/json"), *own]
    status = refusal_status(error)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def only_refused(error: BaseException) -> bool:
    """Whether there is nothing in it but that the client has been told."""
    if isinstance(error, BaseExceptionGroup):
        return all(only_refused(inner) for inner in error.exceptions)
    return isinstance(error, Refused)
