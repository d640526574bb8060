"""Each RPC that a client names is one of protos/, with its messages; no daemon needed."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

import services.containerd
from services.containerd._method import Method
from tests.protos.descriptors import needs_protoc, our_schema


def all_methods() -> dict[str, Method]:  # type: ignore[type-arg]  # whatever they take and give
    """Every Method in the package, by its route."""
    found = {}
    for info in pkgutil.iter_modules(services.containerd.__path__):
        module = importlib.import_module(f"services.containerd.{info.name}")
        found.update({m.route: m for m in vars(module).values() if isinstance(m, Method)})
    return found


@needs_protoc
def test_methods_are_those_of_the_protos(tmp_path: Path) -> None:
    """Service, name, messages and streaming agree; and no method in protos/ is without a user."""
    schema = our_schema(tmp_path)
    methods = all_methods()
    theirs = {name for name in schema.methods if name.startswith(".containerd.")}
    assert {route.replace("/", ".", 1) for route in methods} == theirs
    for route, method in methods.items():
        request, reply, client_streaming, server_streaming = schema.methods[
            route.replace("/", ".", 1)
        ]
        assert method.request.__name__.lower() == request.rpartition(".")[2].lower()
        assert method.reply.__name__.lower() == reply.rpartition(".")[2].lower()
        streams = (method.cardinality.client_streaming, method.cardinality.server_streaming)
        assert streams == (client_streaming, server_streaming)


@pytest.mark.parametrize("route", sorted(all_methods()))
def test_every_method_has_a_limit_or_says_none(route: str) -> None:
    """Only a wait and the event stream go on without one."""
    endless = {"Wait", "Subscribe"}
    method = all_methods()[route]
    assert (method.limit_s == float("inf")) == (method.name in endless)
