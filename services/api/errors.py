"""What an error becomes on the wire: one table from class to status, one shape of body.

Source: Engine API, schema ErrorResponse.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from loguru import logger
from werkzeug.exceptions import HTTPException

from services.api.head import ProtocolError
from services.errors import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidParameter,
    NotFound,
    NotModified,
    NotSupported,
    Unauthorized,
    Unavailable,
)

STATUS_OF: Final[Mapping[type[EngineError], int]] = MappingProxyType(
    {
        NotModified: 304,
        InvalidParameter: 400,
        Unauthorized: 401,
        Forbidden: 403,
        NotFound: 404,
        Conflict: 409,
        NotSupported: 501,
        Unavailable: 503,
    }
)

RETRY_AFTER_S: Final = 1
INTERNAL_ERROR: Final = "internal error: the daemon's log has the details"
PAGE_NOT_FOUND: Final = "page not found"


def status_of(error: EngineError) -> int:
    """The nearest ancestor with an entry decides: a new subclass inherits its parent's status."""
    return next((STATUS_OF[cls] for cls in type(error).__mro__ if cls in STATUS_OF), 500)


def error_body(message: str) -> bytes:
    """Docker's error body; with a line feed at its end, as Go's encoder leaves it."""
    return msgspec.json.encode({"message": message}) + b"\n"


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An error, ready to be sent."""

    status: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()


def answer_for(error: BaseException, *, method: str, path: str) -> ErrorAnswer:
    """What the client is told. An error that nobody planned for is logged, not told.

    Of a group the first error that was raised on purpose speaks, if nothing else is in it.
    """
    leaves = list(_leaves(error))
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


def _leaves(error: BaseException) -> list[BaseException]:
    """The errors inside nested groups, in order."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
