"""Reading placement constraints."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.cluster.model.objects import Node, NodeDescription, NodeStatus
from services.cluster.model.specs import NodeSpec
from services.cluster.scheduler.constraints import Constraint, allow, label_of, parse
from services.errors import InvalidParameter

AT = datetime(2026, 11, 29, tzinfo=UTC)
NODE = Node(
    id="abc",
    created_at=AT,
    updated_at=AT,
    spec=NodeSpec(labels={"Zone": "East", "empty": ""}),
    description=NodeDescription(hostname="Host"),
    status=NodeStatus(addr="192.0.2.7"),
)


def test_spaces_around_the_operator_do_not_matter() -> None:
    assert parse(" node.id==x ") == parse("node.id == x") == Constraint("node.id", "x", False)
    assert parse("node.id != x") == Constraint("node.id", "x", True)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("node.id", "constraint expected one operator from ==, !="),
        ("node.id = x", "constraint expected one operator from ==, !="),
        ("node..&id == x", "key 'node..&id' is invalid"),
        (" == x", "key '' is invalid"),
        ("node.id ==", "value '' is invalid"),
        ("node.id == a,b", "value 'a,b' is invalid"),
    ],
)
def test_what_is_no_constraint_is_refused(expression: str, said: str) -> None:
    """In swarm's words, since clients show them."""
    with pytest.raises(InvalidParameter, match=said.replace("(", r"\(")):
        parse(expression)
    assert not allow([expression], NODE)


@pytest.mark.parametrize(
    ("expression", "is_met"),
    [
        ("node.id == ABC", True),
        ("NODE.ID == abc", True),
        ("node.hostname == host", True),
        ("node.labels.Zone == east", True),
        ("node.labels.zone == east", False),
        ("node.labels.zone != east", True),
        ("node.labels.absent == x", False),
        ("node.nothing != x", False),
        ("node.ip == 192.0.2.7", True),
        ("node.ip != 192.0.2.0/24", False),
        ("node.ip == 192.0.3.0/24", False),
    ],
)
def test_names_of_labels_are_taken_as_written_and_values_are_not(
    expression: str, is_met: bool
) -> None:
    assert allow([expression], NODE) is is_met
    assert allow(["node.id == abc", expression], NODE) is is_met


def test_a_label_that_is_not_there_is_empty_to_preferences() -> None:
    assert label_of("node.labels.Zone", NODE) == "East"
    assert label_of("node.labels.other", NODE) == ""
    assert label_of("engine.labels.other", NODE) == ""
    assert label_of("nonsense", NODE) == ""
