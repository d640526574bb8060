"""What an error becomes on the wire: a status by its class, one shape of body.

Source: Engine API, schema ErrorResponse.
"""

from __future__ import annotations

from typing import Final

import msgspec
from loguru import logger
from werkzeug.exceptions import HTTPException

from services.api.http.head import ProtocolError
from services.api.wire.gojson import encode
from services.api.wire.statuses import status_of
from services.errors import EngineError, leaves_of

RETRY_AFTER_S: Final = 1
INTERNAL_ERROR: Final = "internal error: the daemon's log has the details"
PAGE_NOT_FOUND: Final = "page not found"


def error_body(message: str) -> bytes:
    """Docker's error body; with a line feed at its end, as Go's encoder leaves it."""
    return encode({"message": message})


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An error, ready to be sent."""

    status: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()


def answer_for(error: BaseException, *, method: str, path: str) -> ErrorAnswer:
    """What the client is told. An error that nobody planned for is logged, not told.

    Of a group the first error that was raised on purpose speaks, if nothing else is in it.
    """
    leaves = leaves_of(error)
    unplanned = [
        leaf for leaf in leaves if not isinstance(leaf, EngineError | HTTPException | ProtocolError)
    ]
    if unplanned or not leaves:
        logger.bind(service="api").opt(exception=error).error(
            "request failed", method=method, path=path
        )
        return ErrorAnswer(status=500, message=INTERNAL_ERROR)
    answer = _planned(leaves[0])
    if answer.status >= 500 and answer.status != 501:
        # Not the client's mistake: whoever runs the daemon should see it too.
        logger.bind(service="api").warning(
            "request failed", method=method, path=path, error=answer.message
        )
    return answer


def _planned(error: BaseException) -> ErrorAnswer:
    if isinstance(error, EngineError):
        status = status_of(error)
        headers = (("Retry-After", str(RETRY_AFTER_S)),) if status == 503 else ()
        return ErrorAnswer(status=status, message=str(error), headers=headers)
    if isinstance(error, ProtocolError):
        return ErrorAnswer(status=error.status, message=str(error))
    assert isinstance(error, HTTPException)
    # dockerd's router knows no 405: a known path under another method is a page that is not there.
    if error.code in {404, 405}:
        return ErrorAnswer(status=404, message=PAGE_NOT_FOUND)
    return ErrorAnswer(status=error.code or 500, message=error.description or error.name)
