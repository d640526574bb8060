"""An answer given in place of the app's, before the routes are there: no quart in it."""

from __future__ import annotations

from collections.abc import Sequence

from services.api.http.asgi import Send
from services.api.wire.gojson import encode
from services.api.wire.statuses import status_of
from services.errors import EngineError

Header = tuple[bytes, bytes]


class Refused(Exception):
    """The client has been told; whoever works on its request is to stop."""


async def refuse(send: Send, error: EngineError, identity: Sequence[tuple[str, str]]) -> None:
    """Answer with an error, as the routes would."""
    body = encode({"message": str(error)})
    own = [(name.encode(), value.encode()) for name, value in identity]
    headers = [(b"Content-Type", b"application/json"), *own]
    status = status_of(error)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def only_refused(error: BaseException) -> bool:
    """Whether there is nothing in it but that the client has been told."""
    if isinstance(error, BaseExceptionGroup):
        return all(only_refused(inner) for inner in error.exceptions)
    return isinstance(error, Refused)
