"""What requests about the cluster have in common.

Source: moby, daemon/server/router/swarm/cluster_routes.go; Go's strconv, whose words clients see.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from services.api.wire import gojson
from services.api.wire.json_bodies import encode, read_json
from services.api.wire.query import Query
from services.api.wire.request import EngineRequest, current_request
from services.api.wire.responses import EngineResponse
from services.errors import InvalidParameter

T = TypeVar("T")

_TRUTHS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
UINT64: Final = range(2**64)


async def body_of(kind: type[T]) -> T:
    """The request's body, which must be there.

    Raises:
        InvalidParameter: it is not, or it is no such JSON.
    """
    body = await read_json(kind)
    if body is None:
        raise InvalidParameter("invalid JSON: got EOF while reading request body")
    return body


def version_of(request: EngineRequest, word: str) -> int:
    """The version that the client has seen. Raises InvalidParameter."""
    text = request.query.text("version")
    if text.isascii() and text.isdigit() and int(text) in UINT64:
        return int(text)
    problem = "value out of range" if text.isascii() and text.isdigit() else "invalid syntax"
    raise InvalidParameter(
        f"invalid {word} version '{text}': strconv.ParseUint: parsing {gojson.quote(text)}: "
        f"{problem}"
    )


def truth_of(query: Query, name: str) -> bool:
    """A parameter in strconv's words; absent or empty is false. Raises InvalidParameter."""
    text = query.text(name)
    if not text:
        return False
    if text not in _TRUTHS:
        raise InvalidParameter(f"invalid value for {name}: {text}")
    return _TRUTHS[text]


def answer(value: Any, status: int = 200) -> EngineResponse:
    """A value as an answer."""
    return EngineResponse(encode(value), status)


def nothing(status: int = 200) -> EngineResponse:
    """An answer of nothing but its head."""
    response = EngineResponse(b"", status)
    response.headers.pop("Content-Type", None)
    return response


__all__ = ["answer", "body_of", "current_request", "nothing", "truth_of", "version_of"]
