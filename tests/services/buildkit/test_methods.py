"""The calls of the protocol against the services in protos/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.buildkit import methods
from services.buildkit.server import handlers
from services.grpc.method import Method
from tests.protos.descriptors import needs_protoc, our_schema

ASKED: list[Method[Any, Any]] = [
    methods.FILE_SYNC,
    methods.CREDENTIALS,
    methods.GET_SECRET,
    methods.CHECK_AGENT,
    methods.FORWARD_AGENT,
    methods.UPLOAD,
]


@needs_protoc
def test_calls_are_as_the_services_say(tmp_path: Path) -> None:
    """Names and which side streams, for those that we make and for those that we answer."""
    schema = our_schema(tmp_path).methods
    asked = {method.route: method.cardinality for method in ASKED}
    answered = {route: one.cardinality for route, one in handlers(None).items()}  # type: ignore[arg-type]
    for route, cardinality in {**asked, **answered}.items():
        _, _, takes_stream, gives_stream = schema[f".{route.lstrip('/')}"]
        assert cardinality.value == (takes_stream, gives_stream), route


def test_what_a_client_sends_is_bounded() -> None:
    """Every call of a client has a limit for its messages."""
    assert all(method.reply_limit_bytes for method in ASKED)
