"""The mirror's objects, their snapshots, and what changed."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from services.cluster.etcd.values import Batch, Deleted, KeyValue
from services.cluster.model.objects import Node, Secret, Service, Task
from services.cluster.model.snapshot import Diff
from services.cluster.model.specs import SecretSpec, ServiceSpec
from services.cluster.model.task_spec import TaskSpec
from services.cluster.store.codec import Codec, key_of, manager_key_of
from services.cluster.store.mirror import REMEMBERED_CHANGES, Mirror
from services.errors import Unavailable

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CODEC = Codec()


def task(id: str, *, service: str = "s", node: str = "n", force_update: int = 0) -> Task:
    return Task(
        id=id, created_at=NOW, updated_at=NOW, service_id=service, node_id=node,
        spec=TaskSpec(force_update=force_update),
    )  # fmt: skip


def written(stored: Task | Node | Service, revision: int) -> KeyValue:
    return KeyValue(key_of(stored), CODEC.encode(stored), revision, revision)


def mirror_with(*tasks: Task) -> Mirror:
    mirror = Mirror(Codec())
    mirror.replace_all([written(each, 1) for each in tasks], 1)
    return mirror


def test_nothing_is_shown_before_it_was_read() -> None:
    """An empty cluster would be a lie."""
    with pytest.raises(Unavailable):
        Mirror(Codec()).snapshot()


def test_a_snapshot_does_not_change() -> None:
    """What is held shows what was there, in the indexes too; the next one shows what is."""
    mirror = mirror_with(task("a"), task("b", node="m"))
    before = mirror.snapshot()
    moved = task("a", node="m")
    mirror.apply(Batch(2, [written(moved, 2), Deleted(key_of(task("b")), 2)]))
    after = mirror.snapshot()
    assert (before.revision, set(before.tasks), before.tasks["a"].node_id) == (1, {"a", "b"}, "n")
    assert [each.id for each in before.tasks_of_node("n")] == ["a"]
    assert [each.id for each in before.tasks_of_node("m")] == ["b"]
    assert (after.revision, set(after.tasks), after.tasks["a"].version) == (2, {"a"}, 2)
    assert after.tasks_of_node("n") == ()
    assert [each.id for each in after.tasks_of_node("m")] == ["a"]
    assert [each.id for each in after.tasks_of_service("s")] == ["a"]


def test_a_snapshot_is_made_once_between_two_changes() -> None:
    """And what has not changed is shared with the one before."""
    mirror = mirror_with(task("a"))
    first = mirror.snapshot()
    assert mirror.snapshot() is first
    node = Node(id="n", created_at=NOW, updated_at=NOW)
    mirror.apply(Batch(2, [written(node, 2)]))
    assert mirror.snapshot().tasks is first.tasks
    assert mirror.snapshot().nodes == {"n": Node(id="n", created_at=NOW, updated_at=NOW, version=2)}


def test_tasks_of_one_template_share_it() -> None:
    """Else a hundred thousand would not fit into memory."""
    tasks = mirror_with(task("a"), task("b"), task("c", force_update=1)).snapshot().tasks
    one, two, other = (tasks[id] for id in "abc")
    assert one.spec is two.spec
    assert other.spec.force_update == 1
    assert one.service_id is two.service_id


def test_changes_since_a_revision() -> None:
    """Each object once, as it is now; nothing for who is up to date; all for who is too far
    behind."""
    mirror = mirror_with(task("a"), task("b"))
    assert mirror.changed_since(1) is None
    mirror.apply(Batch(3, [written(task("a", node="x"), 2), written(task("a", node="y"), 3)]))
    mirror.apply(Batch(4, [Deleted(key_of(task("b")), 4)]))
    diff = mirror.changed_since(1)
    assert diff is not None
    assert [(each.id, each.version) for each in diff.put] == [("a", 3)]
    assert [each.id for each in diff.deleted] == ["b"]
    later = mirror.changed_since(3)
    assert later is not None
    assert later.put == ()
    assert mirror.changed_since(4) is None
    mirror.apply(Batch(5, [KeyValue(manager_key_of("m"), b"", 5, 5, lease=1)]))
    assert mirror.changed_since(4) == Diff()  # it is newer, and no object is
    assert mirror.changed_since(5) is None
    behind = mirror.changed_since(0)
    assert behind is not None
    assert behind.is_whole


def test_what_is_forgotten_is_known_to_be() -> None:
    """The memory is bounded: who asks for older changes is told to look at everything."""
    mirror = mirror_with()
    for revision in range(2, REMEMBERED_CHANGES + 3):
        mirror.apply(Batch(revision, [written(task("a"), revision)]))
    forgotten = mirror.changed_since(1)
    assert forgotten is not None
    assert forgotten.is_whole
    known = mirror.changed_since(3)
    assert known is not None
    assert not known.is_whole


def test_one_object_that_cannot_be_read_does_not_hide_the_others() -> None:
    """As after a manager of a later version was there."""
    mirror = Mirror(Codec())
    mirror.replace_all([KeyValue("/wharfinger/task/x", b'{"id":', 1, 1), written(task("a"), 1)], 1)
    assert set(mirror.snapshot().tasks) == {"a"}


def test_objects_come_back_as_they_were() -> None:
    """With the revision as their version."""
    service = Service(id="s", created_at=NOW, updated_at=NOW, spec=ServiceSpec(name="web"))
    secret = Secret(id="t", created_at=NOW, updated_at=NOW, spec=SecretSpec(name="k", data="ZA=="))
    for stored in (service, secret):
        decoded = CODEC.decode(stored.kind, CODEC.encode(stored), 7)
        assert decoded == msgspec.structs.replace(stored, version=7)
