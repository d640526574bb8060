"""What a registry answers instead of what it was asked for, and what dockerd makes of it.

Source: distribution-spec, "Error Codes"; moby, distribution/errors.go, whose texts clients know.
"""

from __future__ import annotations

from typing import Final

import msgspec

from services import typed_json
from services.errors import EngineError, NotFound, Unauthorized
from services.images.reference import Reference

MAX_BODY_BYTES: Final = 64 * 1024
_MAX_TEXT_CHARS: Final = 2000

_BY_STATUS: Final = {
    401: ("UNAUTHORIZED", "authentication required"),
    403: ("DENIED", "requested access to the resource is denied"),
    404: ("NOT_FOUND", "not found"),
    429: ("TOOMANYREQUESTS", "too many requests"),
    503: ("UNAVAILABLE", "service unavailable"),
}
_MESSAGES: Final = {
    "MANIFEST_UNKNOWN": "manifest unknown",
    "NAME_UNKNOWN": "repository name not known to registry",
    "BLOB_UNKNOWN": "blob unknown to registry",
    "DENIED": "requested access to the resource is denied",
    "UNAUTHORIZED": "authentication required",
}
_REPEATABLE: Final = frozenset({408, 429})


class RegistryError(EngineError):
    """A registry refused; its text is "code: message", in dockerd's spelling."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        said: bool = False,
    ) -> None:
        super().__init__(f"{code.replace('_', ' ').lower()}: {message}")
        self.status = status
        self.code = code  # of the specification, in capitals
        self.retry_after_s = retry_after_s
        self.said = said  # the text is the registry's; else it is ours, for the status

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in _REPEATABLE or self.status >= 500


class Unreachable(EngineError):
    """No answer, or half of one: the connection, its TLS or its time failed. Not the registry."""


class TlsRefused(Unreachable):
    """The other side does not speak TLS, or its certificate is not good. Again is no use."""


class _Error(msgspec.Struct, frozen=True):
    code: str = "UNKNOWN"
    message: str | None = None


class _Errors(msgspec.Struct, frozen=True):
    errors: list[_Error] | None = None
    details: str | None = None  # of token servers
    message: str | None = None


def error_of(status: int, body: bytes, *, retry_after_s: float | None = None) -> RegistryError:
    """The error that an answer stands for. `body` may be anything, and cut off."""
    code, message = _BY_STATUS.get(status, ("", ""))
    try:
        said = typed_json.decode(body, _Errors)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        said = _Errors()
    if said.errors:
        code = said.errors[0].code.upper()
        message = said.errors[0].message or _MESSAGES.get(code, message or "unknown error")
    elif said.details or said.message:
        message = said.details or said.message or ""
    if not code:
        shown = body.decode("utf-8", "replace").strip()[:200]
        code, message = (
            "UNKNOWN",
            message or f"unexpected status code {status}: {shown or 'no text'}",
        )
    return RegistryError(
        status,
        code[:100],
        message[:_MAX_TEXT_CHARS],
        retry_after_s=retry_after_s,
        said=bool(said.errors or said.details or said.message),
    )


def manifest_error(
    status: int, body: bytes, *, retry_after_s: float | None = None
) -> RegistryError:
    """As `error_of`; an answer to HEAD has no body, and a 404 there means an unknown manifest."""
    if status == 404 and not body.strip():
        return RegistryError(404, "MANIFEST_UNKNOWN", _MESSAGES["MANIFEST_UNKNOWN"])
    return error_of(status, body, retry_after_s=retry_after_s)


def pull_error(error: EngineError, reference: Reference) -> EngineError:
    """What the client of a pull is told of `error`.

    Missing credentials are no 401 here: at one, the CLI asks for a password and waits.
    """
    if isinstance(error, Unauthorized):
        return EngineError(str(error))
    if not isinstance(error, RegistryError):
        return error
    match error.code:
        case "DENIED":
            return NotFound(
                f"pull access denied for {reference.familiar_name}, repository does not exist or "
                f"may require 'docker login': {error}"
            )
        case "MANIFEST_UNKNOWN":
            return NotFound(f"manifest for {reference.familiar} not found: {error}")
        case "NAME_UNKNOWN":
            return NotFound(f"repository {reference.familiar_name} not found: {error}")
    return error
