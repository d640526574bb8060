"""The archive that `docker import URL` names, fetched as it is read."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import trio

from services import lean_httpx
from services.errors import EngineError, InvalidParameter, NotFound
from services.system.tls import client_context

CONNECT_LIMIT_S: Final = 30.0
READ_LIMIT_S: Final = 60.0  # between two pieces
MAX_REDIRECTS: Final = 10
_PIECE_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A body that comes from elsewhere. `total_bytes` is 0 when the server does not say."""

    url: str
    total_bytes: int
    last_modified: str  # as the server says it, or ""
    pieces: AsyncIterator[bytes]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.pieces


def download_url(source: str) -> str:
    """The URL that a client's text means; without a scheme it is http.

    Raises:
        InvalidParameter: it is none that can be fetched.
    """
    url = source if "://" in source else f"http://{source}"
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise InvalidParameter(f"invalid URL {source!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidParameter(f"invalid URL {source!r}: http or https is needed")
    return url


@asynccontextmanager
async def download(url: str) -> AsyncIterator[Download]:
    """Ask for `url`, as the environment's proxies have it; the block gets its bytes.

    Raises:
        NotFound: the server says so.
        InvalidParameter: a URL that no client can ask for.
        EngineError: it cannot be reached, answers something else, or goes silent in the middle.
    """
    # Imported when asked for, and in a thread as the authorities are read in: each takes some
    # hundredths of a second.
    await trio.to_thread.run_sync(lean_httpx.load)
    import httpx

    tls = await trio.to_thread.run_sync(client_context)

    limits = httpx.Timeout(READ_LIMIT_S, connect=CONNECT_LIMIT_S)
    try:
        async with (
            httpx.AsyncClient(
                verify=tls, timeout=limits, follow_redirects=True, max_redirects=MAX_REDIRECTS
            ) as client,
            # What the server compresses on its own account is undone by who reads the archive.
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise NotFound(f"unable to download {url}: HTTP status 404")
            if answer.status_code != httpx.codes.OK:
                raise EngineError(f"unable to download {url}: HTTP status {answer.status_code}")
            length = answer.headers.get("Content-Length", "")
            yield Download(
                url=url,
                total_bytes=int(length) if length.isascii() and length.isdigit() else 0,
                last_modified=answer.headers.get("Last-Modified", ""),
                pieces=answer.aiter_raw(_PIECE_BYTES),
            )
    except httpx.InvalidURL as error:
        raise InvalidParameter(f"invalid URL {url!r}: {error}") from error
    except (httpx.HTTPError, UnicodeError) as error:
        raise EngineError(f'Get "{url}": {_reason(error, url)}') from error


def _reason(error: Exception, url: str) -> str:
    """What was in the way, in dockerd's words where Python's would stand."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror | UnicodeError):  # the latter: no name for a resolver
            return f"dial tcp: lookup {urlsplit(url).hostname}: no such host"
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
