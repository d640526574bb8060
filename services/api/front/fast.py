"""The hottest routes, answered before quart is asked: a table from method and path to ready bytes.

A route stands here when its answer exists encoded already. It returns None for whatever it does
not want to answer itself (parameters, errors); quart's route of the same path does then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.api.http.asgi import Message, Scope
from services.api.versions.version import VERSION_KEY, ApiVersion, negotiate
from services.api.wire.identity import AppConfig, Identity, identity_headers
from services.errors import InvalidParameter

FastHandler = Callable[[Scope, ApiVersion], bytes | None]
"""Synchronous and quick: called on the loop for each request. The result is a JSON body."""

FastItemHandler = Callable[[Scope, ApiVersion, str], bytes | None]
"""The same for one item of a collection, with its reference from the path."""


@dataclass(frozen=True, slots=True)
class FastAnswer:
    """A whole answer in ASGI's two messages, and the operation that it is of."""

    start: Message
    body: Message
    operation: str


class FastRoutes:
    """The table; filled by whoever builds the app, before the server starts."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._encode(identity.config)
        self._encode_ping(identity.swarm_role())
        self._exact: dict[tuple[str, str], tuple[str, FastHandler]] = {}
        self._items: dict[tuple[str, str, str], tuple[str, FastItemHandler]] = {}

    def _encode(self, config: AppConfig) -> None:
        """Make ready what each answer begins with."""
        identity = [(n.encode("ascii"), v.encode("ascii")) for n, v in identity_headers(config)]
        self._config = config
        self._json_start = _start([(b"Content-Type", b"application/json"), *identity])
        self._role: str | None = None

    def _encode_ping(self, role: str) -> None:
        """Make ready what a ping is answered while the daemon has this part in a swarm."""
        self._role = role
        self._ping = _ping_answers(self._config, role)

    def add(self, method: str, path: str, handler: FastHandler) -> None:
        """Answer `path` (without version prefix) by `handler`.

        Raises:
            ValueError: the pair already has one.
        """
        if (method, path) in self._exact:
            raise ValueError(f"{method} {path} already has a fast route")
        self._exact[method, path] = (f"{method} {path}", handler)

    def add_item(self, method: str, collection: str, leaf: str, handler: FastItemHandler) -> None:
        """Answer `/{collection}/{reference}/{leaf}`, where a reference has no slash, by `handler`.

        Raises:
            ValueError: the triple already has one.
        """
        if (method, collection, leaf) in self._items:
            raise ValueError(f"{method} /{collection}/*/{leaf} already has a fast route")
        self._items[method, collection, leaf] = (f"{method} /{collection}/{{ref}}/{leaf}", handler)

    def answer(self, scope: Scope) -> FastAnswer | None:
        """The answer if the table has one; the scope's path is already without version prefix."""
        if self._config is not self._identity.config:
            self._encode(self._identity.config)
        method: str = scope["method"]
        path: str = scope["path"]
        try:
            version = negotiate(scope.get(VERSION_KEY))
        except InvalidParameter:
            return None
        if path == "/_ping":
            if (role := self._identity.swarm_role()) != self._role:
                self._encode_ping(role)
            return self._ping.get(method)
        exact = self._exact.get((method, path))
        if exact is not None:
            return self._answer(exact[0], exact[1](scope, version))
        parts = path.split("/", 4)
        if len(parts) == 4:
            item = self._items.get((method, parts[1], parts[3]))
            if item is not None:
                return self._answer(item[0], item[1](scope, version, parts[2]))
        return None

    def _answer(self, operation: str, body: bytes | None) -> FastAnswer | None:
        return None if body is None else FastAnswer(self._json_start, _body(body), operation)


def _start(headers: list[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _body(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": False}


def _ping_answers(config: AppConfig, role: str) -> dict[str, FastAnswer]:
    """GET and HEAD of `/_ping`. Source: Engine API, SystemPing and SystemPingHead."""
    fields = (
        ("Content-Type", "text/plain; charset=utf-8"),
        *identity_headers(config),
        *config.ping_headers,
        ("Swarm", role),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
    )
    start = _start([(name.encode("ascii"), value.encode("ascii")) for name, value in fields])
    return {
        "GET": FastAnswer(start, _body(b"OK"), "GET /_ping"),
        "HEAD": FastAnswer(start, _body(b""), "HEAD /_ping"),
    }
