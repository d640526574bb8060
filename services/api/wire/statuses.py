"""What HTTP status an error becomes: one table, by class. No quart in it: gates need it early."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

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


def status_of(error: EngineError) -> int:
    """The nearest ancestor with an entry decides: a new subclass inherits its parent's status."""
    return next((STATUS_OF[cls] for cls in type(error).__mro__ if cls in STATUS_OF), 500)
