"""Tasks as they are looked at."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.cluster.control.tasks import Tasks
from services.cluster.model.objects import NetworkAttachment
from services.cluster.model.task_spec import NetworkAttachmentSpec, TaskSpec
from services.cluster.model.task_state import TaskState
from services.errors import InvalidParameter, NotFound
from tests.services.cluster.objects import id_of, network, node, service, store_of, task

WEB = service("web", labels={"tier": "front"})
API = service("api")


def tasks() -> Tasks:
    attached = task("attached", API, spec=TaskSpec(network_attachment_spec=NetworkAttachmentSpec()))
    return Tasks(
        store_of(
            WEB,
            API,
            node("n1"),
            node("n2"),
            network("front"),
            task("t1", WEB, networks=[NetworkAttachment(network_id=id_of("front"))]),
            task("t2", WEB, node_id=id_of("n2"), desired_state=TaskState.SHUTDOWN),
            task("t3", API),
            attached,
        )
    )


def test_filters() -> None:
    """Services and nodes by whatever names them; what is attached by hand is not shown."""

    def ids(**filters: tuple[str, ...]) -> set[str]:
        found = tasks().list({key.replace("_", "-"): value for key, value in filters.items()})
        return {one.task.id.rstrip("0") for one in found}

    assert ids() == {"t1", "t2", "t3"}
    assert ids(service=("web",)) == {"t1", "t2"}
    assert ids(node=("n2",)) == {"t2"}
    assert ids(service=("api", "web"), node=("n1",)) == {"t1", "t3"}
    assert ids(desired_state=("running",)) == {"t1", "t3"}
    assert ids(name=("web.1",)) == {"t1", "t2"}
    assert ids(label=("tier",)) == {"t1", "t2"}
    assert ids(id=("t3",)) == {"t3"}
    assert ids(runtime=("attachment",)) == {"attached"}
    with pytest.raises(NotFound, match=r"^service x not found$"):
        ids(service=("x",))
    with pytest.raises(InvalidParameter, match=r"^Invalid desired-state filter: 'up'$"):
        ids(desired_state=("up",))


def test_a_task_is_up_to_date_by_number_or_by_content() -> None:
    """A service that was changed and changed back has tasks that need not go."""
    changed = replace(WEB, spec_version=2)
    old = task("old", WEB)
    other = replace(WEB.spec.task_template, force_update=1)
    stale = replace(task("stale", WEB), spec=other)
    found = Tasks(store_of(changed, old, stale)).list({"_up-to-date": ("true",)})
    assert [one.task.id for one in found] == [old.id]


def test_a_task_comes_with_its_networks() -> None:
    """Those that are still there."""
    seen = tasks().get("t1")
    assert [one.name for one in seen.networks] == ["front"]
    assert tasks().get(seen.task.name).task.id == seen.task.id
