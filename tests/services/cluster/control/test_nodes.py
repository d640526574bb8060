"""Nodes."""

from __future__ import annotations

import pytest

from services.cluster.control.nodes import Nodes
from services.cluster.model.objects import NodeState, Stored
from services.cluster.model.specs import NodeSpec
from services.cluster.requests import NodeUpdate
from services.cluster.store.contract import OutOfSequence
from services.errors import InvalidParameter, NotFound
from tests.services.cluster.control.fakes import FakeLeadership
from tests.services.cluster.objects import id_of, node, store_of
from tests.support.memory_store import MemoryStore

DRAINED = NodeUpdate(role="worker", availability="drain", labels={"a": "b"})


def nodes(*objects: Stored, leader: str = "") -> tuple[Nodes, MemoryStore]:
    """Managers are heard of whose nodes are."""
    store = store_of(*objects)
    known = store.snapshot().nodes.values()
    present = [one.id for one in known if one.status.state is NodeState.READY]
    return Nodes(store, FakeLeadership(leader and id_of(leader), present)), store


def test_managers_are_told_apart() -> None:
    """One leads; one that is not heard of is unreachable; a worker is neither."""
    found, _ = nodes(
        node("m1", manager=True),
        node("m2", manager=True, state=NodeState.DOWN),
        node("w1"),
        leader="m1",
    )
    seen = {one.node.name: (one.is_leader, one.is_reachable) for one in found.list({})}
    assert seen == {"m1": (True, True), "m2": (False, False), "w1": (False, False)}


def test_a_node_is_known_by_its_host() -> None:
    """Two hosts of a name must be told apart by their ids."""
    found, store = nodes(node("w1"))
    assert found.get("w1").node.id == id_of("w1")
    assert found.get(id_of("w1")[:5]).node.id == id_of("w1")
    twin = node("w1")
    store.put(type(twin)(**{**{f: getattr(twin, f) for f in twin.__struct_fields__}, "id": "w2"}))
    with pytest.raises(InvalidParameter, match=r"^node w1 is ambiguous \(2 matches found\)$"):
        found.get("w1")
    with pytest.raises(NotFound, match=r"^node w9 not found$"):
        found.get("w9")


def test_filters() -> None:
    """label is the engine's, node.label the node's."""
    found, _ = nodes(node("m1", manager=True), node("w1"))

    def names(**filters: tuple[str, ...]) -> list[str]:
        return [
            one.node.name
            for one in found.list({k.replace("_", "."): v for k, v in filters.items()})
        ]

    assert names(role=("manager",)) == ["m1"]
    assert names(name=("w",)) == ["w1"]
    assert names(membership=("accepted",)) == ["m1", "w1"]
    assert names(membership=("pending",)) == []
    assert names(label=("disk=ssd",)) == ["m1", "w1"]
    assert names(node_label=("disk=ssd",)) == []
    with pytest.raises(InvalidParameter, match=r"^Invalid role filter: 'boss'$"):
        names(role=("boss",))


async def test_an_update_says_everything() -> None:
    """What it leaves out is not guessed: a manager would be demoted by it."""
    found, store = nodes(node("w1"))
    version = store.snapshot().nodes[id_of("w1")].version
    for update, text in (
        (NodeUpdate(availability="active"), '^invalid Role: ""$'),
        (NodeUpdate(role="worker"), '^invalid Availability: ""$'),
    ):
        with pytest.raises(InvalidParameter, match=text):
            await found.update("w1", version, update)
    await found.update("w1", version, DRAINED)
    expected = NodeSpec(role="worker", availability="drain", labels={"a": "b"})
    assert found.get("w1").node.spec == expected
    with pytest.raises(OutOfSequence):
        await found.update("w1", version, DRAINED)


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ([], "attempting to demote the last manager of the swarm"),
        ([NodeState.DOWN], "this would result in a loss of quorum"),
        ([NodeState.DOWN, NodeState.READY], "this would result in a loss of quorum"),
    ],
)
async def test_the_managers_keep_their_majority(others: list[NodeState], text: str) -> None:
    """A demotion that would cost it is refused."""
    rest = [node(f"m{i}", manager=True, state=state) for i, state in enumerate(others, 2)]
    found, store = nodes(node("m1", manager=True), *rest)
    version = store.snapshot().nodes[id_of("m1")].version
    with pytest.raises(InvalidParameter, match=text):
        await found.update("m1", version, DRAINED)


async def test_a_manager_is_demoted_while_others_are_enough() -> None:
    """Its role changes when its certificate does, not now."""
    found, store = nodes(node("m1", manager=True), node("m2", manager=True))
    version = store.snapshot().nodes[id_of("m1")].version
    await found.update("m1", version, DRAINED)
    demoted = found.get("m1").node
    assert (demoted.spec.role, demoted.role) == ("worker", "manager")


async def test_only_what_is_down_and_no_manager_is_removed() -> None:
    """By force also what is up."""
    found, _ = nodes(
        node("m1", manager=True, state=NodeState.DOWN),
        node("w1"),
        node("w2", state=NodeState.DOWN),
    )
    with pytest.raises(InvalidParameter, match="must be demoted to worker before removal"):
        await found.remove("m1", force=True)
    with pytest.raises(InvalidParameter, match="is not down and can't be removed"):
        await found.remove("w1", force=False)
    await found.remove("w2", force=False)
    await found.remove("w1", force=True)
    assert [one.node.name for one in found.list({})] == ["m1"]
