"""What to put into the Authorization field: passwords, or tokens from the server that issues them.

Source: distribution, docs/spec/auth (token.md, oauth.md, scope.md); docker's own client.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import msgspec
import trio

from services import typed_json
from services.errors import EngineError, Unauthorized

from .addresses import url_of
from .challenge import Challenge
from .credentials import Credentials

CLIENT_ID: Final = "docker"
MAX_BYTES: Final = 1 << 20
_LIFETIME_S: Final = 60.0  # of a token that does not say; the specification's
_MARGIN_S: Final = 10.0  # not to start with one that ends under way

Fetch = Callable[[str, str, dict[str, str], bytes | None], Awaitable[bytes]]
"""Method, URL, header, body; the answer's body. Raises for any status but 200."""


class _Answer(msgspec.Struct, frozen=True):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None
    refresh_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token."""

    text: str
    valid_until: float  # trio's clock

    @property
    def is_fresh(self) -> bool:
        """Whether a request that starts now may use it."""
        return trio.current_time() < self.valid_until


class Authorizer:
    """Answers the challenges of one registry, for one client of ours. Tokens live as long as it."""

    def __init__(
        self,
        credentials: Credentials,
        fetch: Fetch,
        *,
        may_send: Callable[[str], Awaitable[bool]],
        is_login: bool = False,
    ) -> None:
        """`may_send` says whether a password may go to a URL.

        With `is_login`, tokens are asked for that come with a refresh token.
        """
        self._credentials, self._fetch, self._may_send = credentials, fetch, may_send
        self._is_login = is_login
        self.refresh_token = ""  # the last one that came with a token
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], Token] = {}
        self._asking = trio.Lock()

    async def header(self, scopes: Sequence[str]) -> str | None:
        """For a request that needs `scopes`; None as long as nothing has been asked of us.

        Raises:
            Unauthorized: a password is wanted, and there is none.
            EngineError: the server that issues tokens does not do so.
        """
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            return self._basic()
        return f"Bearer {(await self.token(scopes)).text}"

    def challenged(self, challenges: Sequence[Challenge], scopes: Sequence[str]) -> None:
        """The registry answered 401: what it wants, and that what it got will not do.

        Raises:
            Unauthorized: it wants something that we do not know.
        """
        self._tokens.pop(tuple(scopes), None)
        for wanted in ("bearer", "basic"):
            found = next((c for c in challenges if c.scheme == wanted), None)
            if found is not None and (wanted == "basic" or found.parameters.get("realm")):
                self._challenge = found
                return
        raise Unauthorized("unauthorized: the registry offers no way to log in that is supported")

    async def token(self, scopes: Sequence[str]) -> Token:
        """A token for `scopes`, the one that is at hand or a new one."""
        credentials, key = self._credentials, tuple(scopes)
        if credentials.registry_token:
            return Token(text=credentials.registry_token, valid_until=float("inf"))
        async with self._asking:  # several blobs begin at once: one asks for all
            known = self._tokens.get(key)
            if known is None or not known.is_fresh:
                known = self._tokens[key] = await self._ask(scopes)
            return known

    async def _ask(self, scopes: Sequence[str]) -> Token:
        assert self._challenge is not None
        parameters = self._challenge.parameters
        realm, service = parameters["realm"], parameters.get("service", "")
        if url_of(realm).scheme not in ("http", "https"):
            raise EngineError(f"unsupported token server {realm!r}")
        secret = self._credentials.identity_token or self._credentials.username
        if secret and not await self._may_send(realm):
            raise EngineError(f"credentials are not sent to {realm}: it is not encrypted")
        if self._credentials.identity_token:
            answer = await self._post(realm, service, scopes)
        else:
            answer = await self._get(realm, service, scopes)
        text = answer.token or answer.access_token
        if not text:
            raise EngineError("authorization server did not include a token in the response")
        self.refresh_token = answer.refresh_token or self.refresh_token
        lifetime_s = max(answer.expires_in or _LIFETIME_S, _LIFETIME_S) - _MARGIN_S
        return Token(
            text=text,
            valid_until=trio.current_time() + lifetime_s,
        )

    async def _get(self, realm: str, service: str, scopes: Sequence[str]) -> _Answer:
        credentials = self._credentials
        fields = [("service", service)] if service else []
        fields += [("scope", scope) for scope in scopes]
        if self._is_login:
            fields += [("offline_token", "true"), ("client_id", CLIENT_ID)]
        headers = {}
        if credentials.username:
            fields.append(("account", credentials.username))
            headers["Authorization"] = self._basic()
        separator = "&" if url_of(realm).query else "?"
        url = f"{realm}{separator}{urlencode(fields)}" if fields else realm
        return _decode(await self._fetch("GET", url, headers, None))

    async def _post(self, realm: str, service: str, scopes: Sequence[str]) -> _Answer:
        fields = {
            "grant_type": "refresh_token",
            "service": service,
            "client_id": CLIENT_ID,
            "refresh_token": self._credentials.identity_token,
            "scope": " ".join(scopes),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return _decode(await self._fetch("POST", realm, headers, urlencode(fields).encode()))

    def _basic(self) -> str:
        if not self._credentials.username:
            raise Unauthorized("no basic auth credentials")
        pair = f"{self._credentials.username}:{self._credentials.password}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _decode(body: bytes) -> _Answer:
    try:
        return typed_json.decode(body, _Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EngineError(f"unable to decode token response: {error}") from error
