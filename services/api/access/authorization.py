"""Where authorization plugins stand: before everything that answers, the quick answers too.

A plugin judges the request that the handlers will see: the path decoded as the router decodes it,
and the body whole, whether it came in chunks or not. One that is longer than a plugin is shown is
refused, not let past unseen (CVE-2024-41110 is what comes of the other choice).

Source: moby, pkg/authorization (middleware, what of a request is shown); tried on dockerd 20.10.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

import msgspec

from services.api.http.asgi import ASGIApp, Receive, Scope, Send
from services.api.http.peer import peer_of
from services.api.versions.version import split_version
from services.api.wire.identity import Identity
from services.errors import EngineError, Forbidden
from services.plugins import AuthRequest

if TYPE_CHECKING:
    from services.api.access.refusal import Header

BODY_LIMIT_BYTES: Final = 1 << 20
"""What of a body plugins are shown. Source: dockerd's maxBodySize."""

_SECRET_HEADERS: Final = frozenset({b"authorization", b"x-registry-auth", b"x-registry-config"})
_JSON: Final = "application/json"


class Judges(Protocol):
    """What the gate needs of the plugins. `services.plugins.Authorizer` provides it."""

    @property
    def names(self) -> tuple[str, ...]:
        """Who is to be asked, in order."""

    async def judge_request(self, names: Sequence[str], request: AuthRequest) -> None:
        """Raises an EngineError: not allowed."""

    async def judge_response(self, names: Sequence[str], request: AuthRequest) -> None:
        """Raises an EngineError: not allowed."""


class AuthorizationGate:
    """An ASGI app before another one. Without plugins a request costs a property's look."""

    def __init__(self, app: ASGIApp, judges: Judges, identity: Identity) -> None:
        self._app = app
        self._judges = judges
        self._identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        names = self._judges.names
        if not names:
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # nothing here speaks it so
        else:
            await self._judged(names, scope, receive, send)

    async def _judged(
        self, names: tuple[str, ...], scope: Scope, receive: Receive, send: Send
    ) -> None:
        # Imported with the first request that a plugin judges.
        from services.api.access.held_body import replayed
        from services.api.access.judged_answer import JudgedAnswer
        from services.api.access.refusal import only_refused, refuse

        try:
            body = await _shown_body(scope, receive)
            request = _request(scope, body or b"")
            await self._judges.judge_request(names, request)
        except EngineError as error:
            await refuse(send, error, self._identity.headers)
            return
        if body is not None:
            receive = replayed(body, receive)

        async def judge(status: int, headers: Sequence[Header], body: bytes | None) -> None:
            shown = body if body is not None and _is_shown(scope, headers) else b""
            await self._judges.judge_response(
                names,
                msgspec.structs.replace(
                    request,
                    response_status=status,
                    response_headers=_headers(headers),
                    response_body=shown,
                ),
            )

        answer = JudgedAnswer(send, judge, self._identity.headers)
        try:
            await self._app(answer.scope(scope), receive, answer.send)
        except BaseException as error:
            if not only_refused(error):
                raise


async def _shown_body(scope: Scope, receive: Receive) -> bytes | None:
    """The body if plugins are to see it: JSON, but of a login. None: the handler reads it itself.

    A handler takes JSON from a body that calls itself so, and from no other (`read_json`).
    """
    from services.api.access.held_body import TooLarge, content_type, hold_body

    if content_type(scope) != _JSON or _is_login(scope):
        return None
    try:
        return await hold_body(receive, BODY_LIMIT_BYTES)
    except TooLarge as error:
        raise Forbidden(
            f"authorization denied: the request's body is larger than {BODY_LIMIT_BYTES} bytes, "
            "which is all that an authorization plugin is shown"
        ) from error


def _is_login(scope: Scope) -> bool:
    return split_version(scope["path"])[1] == "/auth"


def _is_shown(scope: Scope, headers: Sequence[Header]) -> bool:
    kinds = [value for name, value in headers if name.lower() == b"content-type"]
    is_json = any(kind.partition(b";")[0].strip().lower() == _JSON.encode() for kind in kinds)
    return is_json and not _is_login(scope)


def _request(scope: Scope, body: bytes) -> AuthRequest:
    peer = peer_of(scope)
    user = peer.common_name if peer is not None else ""
    certificates = peer.certificates if peer is not None else ()
    return AuthRequest(
        user=user,
        authn_method="TLS" if certificates else "",
        method=scope["method"],
        uri=_uri(scope),
        body=body,
        headers=_headers(scope["headers"]),
        certificates=certificates,
    )


def _uri(scope: Scope) -> str:
    """Path and query. The path is the one that is routed by, escaped anew: `%2e` hides nothing."""
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~")
    query: bytes = scope["query_string"]
    return f"{path}?{query.decode('latin-1')}" if query else path


def _headers(fields: Iterable[Header]) -> dict[str, str]:
    """By Go's spelling of their names, the last of a name; without Host and what is secret."""
    shown: dict[str, str] = {}
    for name, value in fields:
        if name.lower() not in _SECRET_HEADERS and name.lower() != b"host":
            canonical = "-".join(
                part.capitalize() for part in name.decode("latin-1").lower().split("-")
            )
            shown[canonical] = value.decode("latin-1")
    return shown
