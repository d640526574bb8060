"""The beginning of TLS on an accepted connection, and what is said when it fails."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Final

import trio
from loguru import logger

from services.api.http.transport import LINGER_S, PlainTransport, linger

HANDSHAKE_BUDGET_S: Final = 10.0

_PLAIN_ON_TLS: Final = (
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
)


async def shake_hands(
    context: ssl.SSLContext, plain: trio.SocketStream
) -> trio.SSLStream[trio.SocketStream] | None:
    """The encrypted stream; None if the client did not come to one, or not in time."""
    stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
    try:
        with trio.fail_after(HANDSHAKE_BUDGET_S):
            await stream.do_handshake()
    except trio.TooSlowError:
        return None
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        await _explain(error.__cause__, plain)
        await _send_alert(stream, plain)
        return None
    return stream


async def _send_alert(stream: trio.SSLStream[trio.SocketStream], plain: trio.SocketStream) -> None:
    """What OpenSSL has to say about it: trio leaves that unsent, and clients see a mere end."""
    alert = stream._outgoing.read()
    if alert:
        with trio.move_on_after(LINGER_S), suppress(trio.BrokenResourceError):
            await plain.send_all(alert)
            await linger(PlainTransport(plain))


async def _explain(cause: BaseException | None, plain: trio.SocketStream) -> None:
    """Log why there is no TLS session; tell a client that spoke plain HTTP in its own words."""
    logger.bind(service="api").debug("TLS handshake failed", error=str(cause))
    if isinstance(cause, ssl.SSLError) and cause.reason == "HTTP_REQUEST":
        with trio.move_on_after(LINGER_S):
            await plain.send_all(_PLAIN_ON_TLS)
            await linger(PlainTransport(plain))
