"""The table of RPCs, and who may call which."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from services.cluster.ca.identity import Identity
from services.cluster.model.snapshot import Snapshot
from services.cluster.rpc.access import check_access
from services.cluster.rpc.methods import WHO_MAY, Who
from services.errors import EngineError, Forbidden, Unauthorized
from tests.protos.descriptors import needs_protoc, our_schema
from tests.support.cluster_objects import a_cluster, a_node
from tests.support.memory_store import MemoryStore


@needs_protoc
def test_methods_are_those_of_the_protos(tmp_path: Path) -> None:
    """Service, name, messages and streaming agree; each method in protos/ has its row."""
    schema = our_schema(tmp_path)
    ours = {name: each for name, each in schema.methods.items() if name.startswith(".cluster.")}
    assert {method.route.replace("/", ".", 1) for method in WHO_MAY} == set(ours)
    for method in WHO_MAY:
        request, reply, *streams = ours[method.route.replace("/", ".", 1)]
        assert method.request.__name__ == request.rpartition(".")[2]
        assert method.reply.__name__ == reply.rpartition(".")[2]
        assert list(method.cardinality) == streams


def test_only_the_way_in_is_open_to_who_has_no_certificate() -> None:
    """The whole table, written once more: a change of it must be meant."""
    by_who = {
        who: {method.name for method, allowed in WHO_MAY.items() if allowed is who} for who in Who
    }
    assert by_who == {
        Who.ANYONE: {"GetRoot", "IssueCertificate"},
        Who.NODE: {
            "Session",
            "Heartbeat",
            "UpdateStatus",
            "Describe",
            "PublishLogs",
            "Attach",
        },
        Who.MANAGER: {"Join", "SubscribeLogs"},
    }


def snapshot() -> Snapshot:
    """A worker, a manager, one that is to become a worker, one that is to become a manager."""
    demoted, promoted = a_node("demoted", role="manager"), a_node("promoted")
    return MemoryStore(
        [
            a_cluster("c"),
            a_node("worker"),
            a_node("manager", role="manager"),
            msgspec.structs.replace(demoted, spec=a_node("x").spec),
            msgspec.structs.replace(promoted, spec=a_node("x", role="manager").spec),
        ]
    ).snapshot()


CALLERS = {
    None: {Who.ANYONE},
    Identity(node_id="worker", role="worker", cluster_id="c"): {Who.ANYONE, Who.NODE},
    Identity(node_id="manager", role="manager", cluster_id="c"): set(Who),
    # A worker's certificate, whatever it says of a manager's place, and the other way round.
    Identity(node_id="worker", role="manager", cluster_id="c"): {Who.ANYONE, Who.NODE},
    Identity(node_id="manager", role="worker", cluster_id="c"): {Who.ANYONE, Who.NODE},
    Identity(node_id="demoted", role="manager", cluster_id="c"): {Who.ANYONE, Who.NODE},
    Identity(node_id="promoted", role="worker", cluster_id="c"): {Who.ANYONE, Who.NODE},
    Identity(node_id="manager", role="manager", cluster_id="other"): {Who.ANYONE},
    Identity(node_id="removed", role="manager", cluster_id="c"): {Who.ANYONE},
}


@pytest.mark.parametrize("caller", CALLERS, ids=str)
@pytest.mark.parametrize("who", list(Who))
def test_access_needs_the_certificate_and_the_place_in_the_cluster(
    who: Who, caller: Identity | None
) -> None:
    """Every caller with every row."""
    if who in CALLERS[caller]:
        check_access(who, caller, snapshot())
        return
    expected: type[EngineError] = Unauthorized if caller is None else Forbidden
    with pytest.raises(expected):
        check_access(who, caller, snapshot())
