"""services.events.model: the Engine API's spelling of an event."""

from __future__ import annotations

import json

import pytest

from services.events import Event

from .conftest import event


def test_wire_is_the_schemas() -> None:
    """EventMessage, with seconds and nanoseconds of the same instant."""
    happened = event(1_629_574_695_515_050_031, actor_id="c1", attributes={"name": 'a"ö'})
    assert json.loads(happened.wire) == {
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": "c1", "Attributes": {"name": 'a"ö'}},
        "scope": "local",
        "time": 1_629_574_695,
        "timeNano": 1_629_574_695_515_050_031,
    }


@pytest.mark.parametrize(
    ("type_", "extra"),
    [
        ("container", {"status": "start", "id": "id1", "from": "busybox"}),
        ("image", {"status": "start", "id": "id1"}),
        ("network", {}),
    ],
)
def test_legacy_fields(type_: str, extra: dict[str, str]) -> None:
    """Below API 1.52, containers have id, status and from, images id and status, others nothing."""
    happened = event(1, type=type_)
    assert json.loads(happened.legacy_wire) == json.loads(happened.wire) | extra


def test_encoded_once() -> None:
    """All readers of an event share one encoding."""
    happened: Event = event(1)
    assert happened.wire is happened.wire
    assert happened.legacy_wire is happened.legacy_wire
