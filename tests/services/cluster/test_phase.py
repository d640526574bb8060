"""The phases of a node, every pair of phase and step; why a manager is not let go."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.cluster.etcd.values import Member
from services.cluster.leaving import refusal_to_leave
from services.cluster.members import unwanted
from services.cluster.model.objects import ManagerMember, Node, NodeState, NodeStatus
from services.cluster.model.specs import NodeSpec
from services.cluster.phase import TRANSITIONS, Phase, Step, after
from services.cluster.store.objects import Objects, StoredSnapshot
from services.errors import Conflict

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("step", list(Step))
def test_what_is_not_in_the_table_is_refused(phase: Phase, step: Step) -> None:
    """With both in the message."""
    if (phase, step) in TRANSITIONS:
        assert after(phase, step) is TRANSITIONS[phase, step]
        return
    with pytest.raises(Conflict, match=f"{phase.value}.*{step.value}"):
        after(phase, step)


def test_every_phase_can_be_left() -> None:
    """Whatever has happened, `leave` leads out of it; nothing but a beginning leads in."""
    for phase in Phase:
        if phase is not Phase.INACTIVE:
            assert after(phase, Step.LEAVE) is Phase.INACTIVE
    assert {step for phase, step in TRANSITIONS if phase is Phase.INACTIVE} == {
        Step.BEGIN, Step.FIND_LOCKED, Step.FAIL,
    }  # fmt: skip


def node(id: str, *, role: str = "manager", state: NodeState = NodeState.READY) -> Node:
    return Node(
        id=id, created_at=NOW, updated_at=NOW, spec=NodeSpec(role=role), role=role,
        status=NodeStatus(state=state),
        manager=ManagerMember(addr="10.0.0.1:2377", member_id=f"{ord(id):x}")
        if role == "manager" else None,
    )  # fmt: skip


def cluster_of(*nodes: Node) -> StoredSnapshot:
    objects = Objects()
    for each in nodes:
        objects.put(each)
    return objects.snapshot(1)


def test_why_a_manager_is_not_let_go() -> None:
    """The last one; one without whom no quorum is left; any other one."""
    last = refusal_to_leave(cluster_of(node("a"), node("b", role="worker")), "a")
    assert "Removing the last manager erases all current state" in last
    needed = refusal_to_leave(cluster_of(node("a"), node("b")), "a")
    assert "leaves 1 managers out of 2. Without a Raft quorum" in needed
    away = cluster_of(node("a"), node("b"), node("c", state=NodeState.DOWN))
    assert "leaves 1 managers out of 3" in refusal_to_leave(away, "a")
    spare = refusal_to_leave(cluster_of(node("a"), node("b"), node("c")), "a")
    assert "Without a Raft quorum" not in spare
    assert "The only way to restore a swarm" in spare


def test_who_is_no_manager_is_no_member() -> None:
    """Demoted and removed nodes go; who was just added and has no place yet is let be."""
    snapshot = cluster_of(node("a"), node("b", role="worker"))
    members = [
        Member(ord("a"), "a", ("https://a",), False),
        Member(ord("b"), "b", ("https://b",), False),
        Member(ord("c"), "c", ("https://c",), False),
        Member(ord("d"), "", ("https://d",), True),
    ]
    assert [each.name for each in unwanted(snapshot, members)] == ["b", "c"]
