"""Each RPC that the client names is one of protos/, with its messages; no etcd needed."""

from __future__ import annotations

from pathlib import Path

from services.cluster.etcd import methods
from services.cluster.etcd.methods import Method
from tests.protos.descriptors import needs_protoc, our_schema

METHODS = [each for each in vars(methods).values() if isinstance(each, Method)]


@needs_protoc
def test_methods_are_those_of_the_protos(tmp_path: Path) -> None:
    """Service, name, messages and streaming agree; and no method in protos/ is without a user."""
    schema = our_schema(tmp_path)
    theirs = {name for name in schema.methods if name.startswith(".etcdserverpb.")}
    assert {each.route.replace("/", ".", 1) for each in METHODS} == theirs
    for method in METHODS:
        request, reply, client_streaming, server_streaming = schema.methods[
            method.route.replace("/", ".", 1)
        ]
        assert method.request.__name__ == request.rpartition(".")[2]
        assert method.reply.__name__ == reply.rpartition(".")[2]
        streams = (method.cardinality.client_streaming, method.cardinality.server_streaming)
        assert streams == (client_streaming, server_streaming)


def test_only_the_watch_may_be_silent_for_ever() -> None:
    """All else has a limit."""
    assert [each.name for each in METHODS if each.limit_s == float("inf")] == ["Watch"]
