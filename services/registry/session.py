"""Requests to registries for one operation of one client, with everything that HTTP asks around it:
challenges, redirects, proxies, certificates. Nothing of it outlives the operation.

A redirect is followed by hand: the Authorization field goes to the endpoint's own origin only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import httpx
import trio

from services.errors import EngineError, Unauthorized

from .addresses import url_of
from .answers import beginning_of, read_bounded, retry_after_s
from .challenge import parse_challenges
from .credentials import Credentials
from .endpoints import Endpoint, Endpoints
from .errors import RegistryError, error_of
from .failures import unreachable
from .settings import RegistrySettings
from .tokens import MAX_BYTES as TOKEN_MAX_BYTES
from .tokens import Authorizer
from .trust import tls_context

CONNECT_LIMIT_S: Final = 15.0
SILENCE_LIMIT_S: Final = 60.0  # within an answer, and for its head
CLOSE_LIMIT_S: Final = 5.0
MAX_REDIRECTS: Final = 10
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=16)
_TIMEOUT: Final = httpx.Timeout(SILENCE_LIMIT_S, connect=CONNECT_LIMIT_S, pool=None)

Body = Callable[[], AsyncGenerator[bytes, None]]
"""Makes the body of a request, once more for each time that it is sent."""
ErrorMaker = Callable[..., RegistryError]


class Session:
    """Comes from `open_session`. For any number of tasks at once."""

    def __init__(
        self,
        settings: RegistrySettings,
        credentials: Credentials,
        *,
        user_agent: str,
        is_login: bool = False,
    ) -> None:
        """With `is_login`, tokens are asked for that come with one to keep."""
        self._settings, self._credentials, self._is_login = settings, credentials, is_login
        self._endpoints = Endpoints(settings)
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._clients: dict[tuple[str, bool, str | None], httpx.AsyncClient] = {}
        self._making = trio.Lock()
        self._authorizers: dict[str, Authorizer] = {}

    async def endpoints_of(self, domain: str, *, mirrors: bool) -> tuple[Endpoint, ...]:
        """See `Endpoints.of`."""
        return await self._endpoints.of(domain, mirrors=mirrors)

    async def index_endpoints(self, domain: str) -> tuple[Endpoint, ...]:
        """See `Endpoints.index`."""
        return await self._endpoints.index(domain)

    def authorizer(self, endpoint: Endpoint) -> Authorizer:
        """What answers the endpoint's challenges."""
        if endpoint.url not in self._authorizers:
            # A mirror is another's house: the credentials are for the registry that was named.
            credentials = Credentials() if endpoint.is_mirror else self._credentials
            self._authorizers[endpoint.url] = Authorizer(
                credentials,
                self._fetch_token,
                may_send=self._may_send,
                is_login=self._is_login,
            )
        return self._authorizers[endpoint.url]

    async def ping(self, endpoint: Endpoint) -> None:
        """Whether the endpoint speaks to us at all; how it wants to be spoken to is known then.

        Raises:
            Unreachable: it does not.
        """
        any_status = frozenset(range(300, 600))
        async with self.stream(
            endpoint, "GET", "/v2/", accept=any_status, challenged=False
        ) as response:
            challenges = parse_challenges(response.headers.get_list("www-authenticate"))
            if response.status_code == 401 and challenges:
                self.authorizer(endpoint).challenged(challenges, ())

    @asynccontextmanager
    async def stream(
        self,
        endpoint: Endpoint,
        method: str,
        target: str,
        *,
        scopes: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        accept: frozenset[int] = frozenset(),
        error: ErrorMaker = error_of,
        challenged: bool = True,
    ) -> AsyncIterator[httpx.Response]:
        """Send a request; the block gets its answer, whose body is still to be read.

        `target` is a path at the endpoint, or a URL that it gave. `accept` are statuses that the
        block deals with besides those from 200 to 299. Without `challenged`, a 401 stands as it is.

        Raises:
            RegistryError: any other status; made by `error`.
            Unreachable: no answer, or an incomplete one, also out of the block.
        """
        url = url_of(endpoint.url + target if target.startswith("/") else target)
        authorizer = self.authorizer(endpoint)
        response = await self._authorized(
            authorizer, endpoint, method, url, scopes, dict(headers or {}), body, challenged
        )
        try:
            if not (response.is_success or response.status_code in accept):
                text = b"" if method == "HEAD" else await beginning_of(response)
                raise error(response.status_code, text, retry_after_s=retry_after_s(response))
            yield response
        except httpx.HTTPError as broken:
            raise unreachable(method, response.url, broken) from broken
        finally:
            with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
                await response.aclose()

    async def close(self) -> None:
        """Close all connections."""
        with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
            for client in self._clients.values():
                await client.aclose()

    async def _authorized(
        self,
        authorizer: Authorizer,
        endpoint: Endpoint,
        method: str,
        url: httpx.URL,
        scopes: Sequence[str],
        headers: dict[str, str],
        body: Body | None,
        challenged: bool,
    ) -> httpx.Response:
        """Send with what is known; when that is refused, once more with what is asked for."""
        response = await self._follow(endpoint, method, url, headers, body, authorizer, scopes)
        is_asked = response.status_code == 401 and _same_origin(response.url, endpoint.url)
        if not (challenged and is_asked):
            return response
        challenges = parse_challenges(response.headers.get_list("www-authenticate"))
        if not challenges:
            return response
        await response.aclose()
        authorizer.challenged(challenges, scopes)
        return await self._follow(endpoint, method, url, headers, body, authorizer, scopes)

    async def _follow(
        self,
        endpoint: Endpoint,
        method: str,
        url: httpx.URL,
        headers: dict[str, str],
        body: Body | None,
        authorizer: Authorizer,
        scopes: Sequence[str],
    ) -> httpx.Response:
        may_follow = method in ("GET", "HEAD")
        for _ in range(MAX_REDIRECTS + 1):
            sent = dict(headers)
            if _same_origin(url, endpoint.url):
                try:
                    header = await authorizer.header(scopes)
                except Unauthorized as error:
                    raise Unauthorized(f'{method.capitalize()} "{url}": {error}') from error
                if header is not None:
                    sent["Authorization"] = header
            response = await self._send(endpoint, method, url, sent, body)
            location = response.headers.get("location")
            if not (may_follow and response.status_code in _REDIRECTS and location):
                return response
            await response.aclose()
            following = url_of(location, url)
            if following.scheme not in ("http", "https"):
                raise EngineError(f"redirect to unsupported scheme {following.scheme!r}")
            if url.scheme == "https" and following.scheme == "http" and endpoint.verify:
                raise EngineError(f"refusing to follow a redirect from {url.host} to plain HTTP")
            url = following
        raise EngineError(f"stopped after {MAX_REDIRECTS} redirects")

    async def _send(
        self,
        endpoint: Endpoint | None,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: Body | bytes | None,
    ) -> httpx.Response:
        sent = None if content is None or isinstance(content, bytes) else content()
        whole = content if isinstance(content, bytes) else None
        try:
            client = await self._client(endpoint, url)
            request = client.build_request(
                method, url, headers=headers, content=whole if sent is None else sent
            )
            return await client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, UnicodeError) as error:
            # UnicodeError: a name that no resolver can be asked for, its labels are too long.
            raise unreachable(method, url, error) from error
        finally:
            if sent is not None:  # httpx leaves one that it did not read to its end
                with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
                    await sent.aclose()

    async def _client(self, endpoint: Endpoint | None, url: httpx.URL) -> httpx.AsyncClient:
        """The client for a URL: what TLS and proxy it needs. Made once."""
        host = url.netloc.decode("ascii").rpartition("@")[2]
        if endpoint is not None and host == endpoint.host:
            verify = endpoint.verify
        else:
            verify = not await self._endpoints.is_insecure(host)
        key = (host, verify, self._settings.proxies.proxy_for(str(url)))
        async with self._making:
            if key not in self._clients:
                make = partial(
                    tls_context, host, verify=verify, certs_dirs=self._settings.certs_dirs
                )
                self._clients[key] = httpx.AsyncClient(
                    verify=await trio.to_thread.run_sync(make),
                    proxy=key[2],
                    headers=self._headers,
                    http2=False,
                    follow_redirects=False,
                    trust_env=False,
                    timeout=_TIMEOUT,
                    limits=_LIMITS,
                )
        return self._clients[key]

    async def _fetch_token(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> bytes:
        response = await self._send(None, method, url_of(url), headers, body)
        try:
            if response.status_code != 200:
                text = await beginning_of(response)
                raise error_of(response.status_code, text, retry_after_s=retry_after_s(response))
            return await read_bounded(response, TOKEN_MAX_BYTES, "token response")
        except httpx.HTTPError as error:
            raise unreachable(method, response.url, error) from error
        finally:
            with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
                await response.aclose()

    async def _may_send(self, url: str) -> bool:
        """A password goes over TLS, or where plain HTTP is allowed."""
        parsed = url_of(url)
        host = parsed.netloc.decode("ascii").rpartition("@")[2]
        return parsed.scheme == "https" or await self._endpoints.is_insecure(host)


@asynccontextmanager
async def open_session(
    settings: RegistrySettings,
    credentials: Credentials,
    *,
    user_agent: str,
    is_login: bool = False,
) -> AsyncIterator[Session]:
    """A session that ends with the block."""
    session = Session(settings, credentials, user_agent=user_agent, is_login=is_login)
    try:
        yield session
    finally:
        await session.close()


def _same_origin(url: httpx.URL, base: str) -> bool:
    other = httpx.URL(base)
    return (url.scheme, url.host, url.port) == (other.scheme, other.host, other.port)
