"""What is sealed in the store, and the data key on disk."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest

from services.cluster.ca.data_key import DataKeyFile
from services.cluster.ca.sealing import ObjectSealer, Sealer, Unreadable, new_data_key
from services.cluster.ca.tokens import new_unlock_key
from services.cluster.model.objects import (
    Cluster,
    JoinTokens,
    NetworkKey,
    Node,
    RootCa,
    Secret,
    Service,
    Stored,
    Task,
)
from services.cluster.model.specs import SecretSpec, ServiceSpec
from services.cluster.model.task_spec import ContainerSpec, TaskSpec
from services.cluster.model.wire import utc_now
from services.errors import InvalidParameter

NOW = utc_now()
HIDDEN = "the hidden words"


def objects() -> list[Stored]:
    """One of each kind that holds what must not be read."""
    root = RootCa(
        certificate="PEM", key=HIDDEN, next_key=HIDDEN,
        join_tokens=JoinTokens(worker=HIDDEN, manager=HIDDEN),
    )  # fmt: skip
    task = TaskSpec(container_spec=ContainerSpec(image="i", registry_auth=HIDDEN))
    service = ServiceSpec(name="web", task_template=task)
    return [
        Service(id="w", spec=service, previous_spec=service, created_at=NOW, updated_at=NOW),
        Task(id="t", spec=task, created_at=NOW, updated_at=NOW),
        Secret(id="s", spec=SecretSpec(name="n", data=HIDDEN), created_at=NOW, updated_at=NOW),
        Cluster(
            id="c",
            root_ca=root,
            unlock_key=HIDDEN,
            created_at=NOW,
            updated_at=NOW,
            network_keys=[NetworkKey(number=number, key=HIDDEN, made_at=NOW) for number in (1, 2)],
        ),
        Node(id="x", created_at=NOW, updated_at=NOW),
    ]


@pytest.mark.parametrize("stored", objects(), ids=lambda stored: stored.kind)
def test_sealed_objects_show_nothing_and_open_to_what_they_were(stored: Stored) -> None:
    """In the bytes that go to the store the words do not stand, in no encoding of ours."""
    sealer = ObjectSealer(Sealer(new_data_key()))
    sealed = sealer.seal(stored)
    assert HIDDEN.encode() not in msgspec.json.encode(sealed)
    assert base64.b64encode(HIDDEN.encode()) not in msgspec.json.encode(sealed)
    assert sealer.open(sealed) == stored


def test_another_key_opens_nothing() -> None:
    """A manager with a wrong data key gets an error, not rubbish."""
    sealed = Sealer(new_data_key()).seal(b"words")
    with pytest.raises(Unreadable):
        Sealer(new_data_key()).open(sealed)


def test_a_sealed_value_does_not_open_in_another_place() -> None:
    """Who can write to the store cannot give one service's secret to another."""
    sealer = Sealer(new_data_key())
    mine = Secret(id="a", created_at=NOW, updated_at=NOW, spec=SecretSpec(data=HIDDEN))
    moved = msgspec.structs.replace(ObjectSealer(sealer).seal(mine), id="b")
    with pytest.raises(Unreadable):
        ObjectSealer(sealer).open(moved)


def test_what_was_never_sealed_is_not_taken_for_sealed() -> None:
    """Plain data in the store is an error: somebody has put it there."""
    plain = Secret(id="a", created_at=NOW, updated_at=NOW, spec=SecretSpec(data=HIDDEN))
    with pytest.raises(Unreadable):
        ObjectSealer(Sealer(new_data_key())).open(plain)


def test_tasks_of_one_spec_are_sealed_to_one_text() -> None:
    """They share it in memory. It says nothing of what it hides, under no other key."""
    spec = TaskSpec(container_spec=ContainerSpec(registry_auth=HIDDEN))
    tasks = [Task(id=id, spec=spec, created_at=NOW, updated_at=NOW) for id in ("a", "b")]
    sealer = ObjectSealer(Sealer(new_data_key()))
    one, two = (sealer.seal(task).spec for task in tasks)
    assert one == two
    assert ObjectSealer(Sealer(new_data_key())).seal(tasks[0]).spec != one
    for broken in (
        spec,
        msgspec.structs.replace(spec, container_spec=ContainerSpec(registry_auth="sealed:siv1:%")),
    ):
        with pytest.raises(Unreadable):
            sealer.open(msgspec.structs.replace(tasks[0], spec=broken))


def test_a_locked_data_key_needs_the_unlock_key(tmp_path: Path) -> None:
    """Locked it does not lie on disk; with the right key it is read, with no or a wrong one not."""
    file, key, unlock_key = DataKeyFile(tmp_path), new_data_key(), new_unlock_key()
    file.save(key)
    before = file.is_locked
    assert file.load() == key
    file.save(key, unlock_key)
    assert (before, file.is_locked) == (False, True)
    assert key.hex() not in next(tmp_path.iterdir()).read_text()
    assert file.load(unlock_key) == key
    with pytest.raises(InvalidParameter, match="no key provided"):
        file.load()
    with pytest.raises(InvalidParameter, match="invalid key provided"):
        file.load(new_unlock_key())
