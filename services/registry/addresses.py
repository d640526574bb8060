"""Names of hosts and URLs that somebody else wrote: a client, or a registry in an answer."""

from __future__ import annotations

import re
from typing import Final

import httpx

from services.errors import EngineError, InvalidParameter

MAX_SHOWN_CHARS: Final = 200
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)
_MAX_PORT: Final = 65535


def require_host(host: str) -> None:
    """Check that HOST[:PORT] can stand in a URL.

    Raises:
        InvalidParameter: it cannot.
    """
    if not _is_host(host):
        raise InvalidParameter(f"invalid registry address {_shown(host)}: want HOST[:PORT]")


def url_of(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """A URL, relative to `base` if there is one.

    Raises:
        EngineError: it is none. What a registry says may be anything.
    """
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise EngineError(f"invalid URL {_shown(text)}: {error}") from error
    if url.scheme in ("http", "https") and not _is_host(
        url.netloc.decode("ascii").rpartition("@")[2]
    ):
        raise EngineError(f"invalid URL {_shown(text)}: no such host can be")
    return url


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        return False
    try:
        httpx.URL(f"https://{text}/")
    except (httpx.InvalidURL, ValueError):  # looks like an address, and is none: 256.1.1.1
        return False
    return True


def _shown(text: str) -> str:
    return repr(text[:MAX_SHOWN_CHARS])
