"""A request's body that is read before the handler runs, and handed to it as it was seen."""

from __future__ import annotations

from services.api.http.asgi import Message, Receive, Scope
from services.errors import EngineError, InvalidParameter


class TooLarge(EngineError):
    """The body is longer than whoever is to see it first can look at."""


async def hold_body(receive: Receive, limit_bytes: int) -> bytes:
    """The whole body.

    Raises:
        TooLarge: it is longer than `limit_bytes`.
        InvalidParameter: the client ended before its body did.
    """
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise InvalidParameter("unexpected EOF")
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limit_bytes:
            raise TooLarge(f"request body larger than {limit_bytes} bytes")
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` whole, then goes on with the connection's."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def content_type(scope: Scope) -> str:
    """What the body calls itself, without parameters, in lower case: as the handlers read it.

    Raises:
        InvalidParameter: it calls itself several things, so that two readers could differ.
    """
    values = [value for name, value in scope["headers"] if name == b"content-type"]
    if len(values) > 1:
        raise InvalidParameter("more than one Content-Type header")
    text: str = values[0].decode("latin-1") if values else ""
    return text.partition(";")[0].strip().lower()


def has_body(scope: Scope) -> bool:
    """Whether a body was announced."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return True
    return False
