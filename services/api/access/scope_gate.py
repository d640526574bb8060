"""Where a scoped socket's policy is kept to: in front of everything that answers.

What is permitted is rewritten so that the handler sees what was judged: a path with the container's
whole id, filters with the labels in them, a body that was decoded and encoded anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from services.api.access.held_body import TooLarge, content_type, has_body, hold_body, replayed
from services.api.access.judged_answer import JudgedAnswer
from services.api.access.operations import Bound, Match, Operation, matches
from services.api.access.refusal import Header, only_refused, refuse
from services.api.access.scoped_bodies import BODIES
from services.api.access.scopes import Policy
from services.api.http.asgi import ASGIApp, Receive, Scope, Send
from services.api.versions.version import split_version
from services.api.wire.identity import Identity
from services.api.wire.json_bodies import check_content_type
from services.api.wire.paths import clean_path
from services.api.wire.query import Query, parse_query
from services.errors import EngineError, Forbidden, InvalidParameter, NotFound

BODY_LIMIT_BYTES: Final = 16 * 1024 * 1024  # as much as handlers read of JSON


class Labelled(Protocol):
    """A container, as far as policies look at it."""

    @property
    def id(self) -> str:
        """Its whole id."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""


class Containers(Protocol):
    """Finds containers for policies."""

    def container(self, ref: str) -> Labelled:
        """By id, prefix or name. Raises NotFound."""

    def of_exec(self, exec_id: str) -> Labelled:
        """The container of an exec. Raises NotFound."""


class ScopeGate:
    """An ASGI app before another one, for one scoped socket."""

    def __init__(
        self, app: ASGIApp, policy: Policy, containers: Containers, identity: Identity
    ) -> None:
        self._app = app
        self._policy = policy
        self._containers = containers
        self._identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            scope, receive, operation = await self._permitted(scope, receive)
        except EngineError as error:
            await refuse(send, error, self._identity.headers)
            return
        if operation.id != "ContainerInspect" or "environment" in self._policy.abilities:
            await self._app(scope, receive, send)
            return
        answer = JudgedAnswer(send, _without_values, self._identity.headers)
        try:
            await self._app(answer.scope(scope), receive, answer.send)
        except BaseException as error:
            if not only_refused(error):
                raise

    async def _permitted(self, scope: Scope, receive: Receive) -> tuple[Scope, Receive, Operation]:
        """The request as it may go on.

        Raises:
            EngineError: it may not.
        """
        match = self._match(scope)
        operation = match.operation
        if self._policy.labels:
            scope = self._bounded(scope, match)
        _check_query(operation, parse_query(scope["query_string"]), self._policy)
        change = BODIES.get(operation.id)
        if change is not None and has_body(scope):
            check_content_type(content_type(scope), has_body=True)
            try:
                body = change(await hold_body(receive, BODY_LIMIT_BYTES), self._policy)
            except TooLarge as error:
                raise InvalidParameter(str(error)) from error
            scope = {**scope, "headers": _with_length(scope["headers"], len(body))}
            receive = replayed(body, receive)
        return scope, receive, operation

    def _match(self, scope: Scope) -> Match:
        """The one operation that this is; where it could be several, all must be permitted."""
        path: str = scope["path"]
        if path != clean_path(path):
            raise Forbidden("this socket takes paths without empty and dotted segments only")
        method, path = scope["method"], split_version(path)[1]
        found = matches(method, path)
        if not found:
            raise Forbidden(f"this socket does not permit {method} {path}")
        for match in found:
            if match.operation.id not in self._policy.operations:
                raise Forbidden(
                    f"this socket does not permit {method} {path} ({match.operation.id})"
                )
        if len(found) > 1 and self._policy.labels:
            raise Forbidden(f"this socket cannot tell what {method} {path} is")
        return found[0]

    def _bounded(self, scope: Scope, match: Match) -> Scope:
        """The request, kept to the containers with the policy's labels."""
        match match.operation.bound:
            case Bound.FREE | Bound.CREATE:
                return scope
            case Bound.CONTAINER:
                missing = NotFound(f"No such container: {match.reference}")
                found = self._visible(self._containers.container, match.reference, missing)
                return _with_reference(scope, match, found.id)
            case Bound.EXEC:
                missing = NotFound(f"No such exec instance: {match.reference}")
                self._visible(self._containers.of_exec, match.reference, missing)
                return scope
            case Bound.LIST | Bound.PRUNE:
                return _with_filters(scope, {"label": self._label_filter})
            case Bound.EVENTS:
                return _with_filters(scope, {"label": self._label_filter, "type": ("container",)})
            case Bound.NEVER:
                raise Forbidden(f"this socket does not permit {match.operation.id}")

    def _visible(self, find: Callable[[str], Labelled], ref: str, missing: EngineError) -> Labelled:
        """What is outside of the policy's labels is not there, in the words of what is not."""
        try:
            found = find(ref)
        except EngineError as error:
            raise missing from error
        if any(found.labels.get(key) != value for key, value in self._policy.labels.items()):
            raise missing
        return found

    @property
    def _label_filter(self) -> tuple[str, ...]:
        return tuple(f"{key}={value}" for key, value in self._policy.labels.items())


def _with_reference(scope: Scope, match: Match, container_id: str) -> Scope:
    """The path with the whole id: a name can be given to another container meanwhile."""
    version, path = split_version(scope["path"])
    head, _, tail = match.operation.path.partition("{id}")
    path = f"{head}{container_id}{tail}"
    if version is not None:
        path = f"/v{version}{path}"
    return {**scope, "path": path, "raw_path": path.encode()}


def _with_filters(scope: Scope, forced: Mapping[str, tuple[str, ...]]) -> Scope:
    """The query with filters that let nothing else through.

    Labels are asked for besides the client's own, which must hold too; a type replaces its.
    """
    query = parse_query(scope["query_string"])
    filters = dict(query.filters())
    for name, values in forced.items():
        own = filters.get(name, ())
        filters[name] = (*own, *values) if name == "label" else values
    fields = [
        (name, value)
        for name, values in query.parameters.items()
        if name != "filters"
        for value in values
    ]
    fields.append(("filters", msgspec.json.encode(filters).decode()))
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in fields)
    return {**scope, "query_string": text.encode()}


def _check_query(operation: Operation, query: Query, policy: Policy) -> None:
    """What queries can ask for that bodies could too."""
    if operation.id == "ImageBuild":
        mode = query.text("networkmode")
        if mode not in ("", "default", "bridge", "none") and "networks" not in policy.abilities:
            raise Forbidden("networkmode cannot be used on this socket: networks is not allowed")
        if query.text("cgroupparent") and "host-namespaces" not in policy.abilities:
            raise Forbidden(
                "cgroupparent cannot be used on this socket: host-namespaces is not allowed"
            )


def _with_length(headers: Sequence[Header], size_bytes: int) -> list[Header]:
    kept = [field for field in headers if field[0] not in (b"content-length", b"transfer-encoding")]
    return [*kept, (b"content-length", str(size_bytes).encode())]


async def _without_values(
    status: int,
    headers: Sequence[Header],  # noqa: ARG001 (a `Judge`)
    body: bytes | None,
) -> bytes | None:
    """An inspect's answer without the values of variables."""
    if status != 200 or body is None:
        return None
    document = msgspec.json.decode(body)
    config = document.get("Config")
    if not isinstance(config, dict) or not config.get("Env"):
        return None
    config["Env"] = [f"{entry.partition('=')[0]}=<hidden>" for entry in config["Env"]]
    return msgspec.json.encode(document) + b"\n"
