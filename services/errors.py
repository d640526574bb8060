"""What can go wrong, classed by what the caller can do about it.

The API turns each class into one HTTP status; nothing else does. A message names the object, what
was wanted and what to do, and reads as dockerd's wherever clients parse it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class EngineError(Exception):
    """Raised on purpose; its text goes to the client as it stands. 500 unless a class says else."""


class NotModified(EngineError):
    """The object is already in the state that was asked for. 304."""


class InvalidParameter(EngineError):
    """The request itself is wrong; sending it again cannot help. 400."""


class Unauthorized(EngineError):
    """Credentials are missing or were refused. 401."""


class Forbidden(EngineError):
    """The caller is known and may not do this. 403."""


class NotFound(EngineError):
    """The object named does not exist. 404."""


class Conflict(EngineError):
    """The object's present state forbids this; changing that state may help. 409."""


class NotSupported(EngineError):
    """Part of the Docker API that Wharfinger does not offer (yet). 501."""


class Unavailable(EngineError):
    """Something we depend on is away; the same call may succeed later. 503 with Retry-After."""


class DeadlineExceeded(EngineError):
    """Something we depend on did not answer in time; the outcome is unknown. 500, as dockerd's."""


@contextmanager
def single_error() -> Iterator[None]:
    """Let an error leave a nursery as itself: of a group, the one error of ours, or the only one.

    A group of several that are not ours stays a group.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = leaves_of(group)
        ours = [leaf for leaf in leaves if isinstance(leaf, EngineError)]
        if ours:
            raise ours[0] from group
        if len(leaves) == 1:
            raise leaves[0] from None
        raise


def leaves_of(error: BaseException) -> list[BaseException]:
    """The errors inside nested groups, in order; of no group, the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves_of(part)]
    return [error]
