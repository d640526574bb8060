"""Rolling updates: both orders, what fails, and what is done about it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from clusterlib.agents import Life
from clusterlib.build import GLOBAL, SECOND, scaled, service, template, updated, with_image
from clusterlib.world import World
from msgspec.structs import replace

from services.cluster.control.service_changes import rolled_back
from services.cluster.model.objects import Service, Task
from services.cluster.model.specs import (
    EndpointSpec,
    PortConfig,
    Replicated,
    ServiceMode,
    UpdateConfig,
)
from services.cluster.model.task_spec import Placement, TaskRestartPolicy
from services.cluster.model.task_state import TaskState


def image_of(task: Task) -> str:
    assert task.spec.container_spec is not None
    return task.spec.container_spec.image


def bad_images_fail(task: Task) -> Life:
    """Tasks of the image `bad` fail two seconds after they began to run."""
    return Life(lives_s=2) if image_of(task) == "bad" else Life()


def running_service(world: World, made: Service) -> Service:
    world.add_nodes(4)
    world.store.put(made)
    world.run(30)
    return world.store.services[made.id]


@dataclass
class Watch:
    """How many of a service's tasks run at each write, and how many are being replaced."""

    least: int = 10_000
    most: int = 0
    images: set[str] = field(default_factory=set)

    def __call__(self, world: World) -> None:
        running = [t for t in world.tasks("web") if t.status.state is TaskState.RUNNING]
        wanted = [t for t in running if t.desired_state is TaskState.RUNNING]
        if world.store.services.get("web") and world.store.services["web"].spec_version > 1:
            self.least = min(self.least, len(wanted))
            self.most = max(self.most, len(running))


@pytest.mark.parametrize("parallelism", [1, 3, 0])
@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_all_tasks_are_replaced(order: str, parallelism: int) -> None:
    """No more than `parallelism` at a time, and with start-first none fewer ever run."""
    watch = Watch()
    world = World(observe=watch)
    update = UpdateConfig(parallelism=parallelism, order=order)
    before = running_service(world, service(replicas=10, update=update))
    world.store.put(with_image(before, "app:2"))
    world.run(300)
    running = world.running("web")
    assert sorted(task.slot for task in running) == list(range(1, 11))
    assert {image_of(task) for task in running} == {"app:2"}
    at_once = parallelism or 10
    if order == "start-first":
        assert watch.least == 10
        assert watch.most <= 10 + at_once
    else:
        assert watch.least == 10 - at_once
    status = world.store.services["web"].update_status
    assert status is not None
    assert (status.state, status.message) == ("completed", "update completed")


def test_an_update_is_complete_after_its_monitored_time() -> None:
    """The last task has to have run for `monitor` without an end."""
    world = World()
    update = UpdateConfig(parallelism=0, monitor=20 * SECOND)
    before = running_service(world, service(replicas=2, update=update))
    world.store.put(with_image(before, "app:2"))
    begun = world.now
    world.run(100)
    status = world.store.services["web"].update_status
    assert status is not None
    assert status.started_at == begun
    assert status.completed_at is not None
    last = max(t.status.running_at for t in world.running("web") if t.status.running_at)
    assert (status.completed_at - last).total_seconds() == 20


def test_the_delay_lies_between_replacements() -> None:
    world = World()
    update = UpdateConfig(parallelism=1, delay=7 * SECOND)
    before = running_service(world, service(replicas=4, update=update))
    world.store.put(with_image(before, "app:2"))
    world.run(100)
    tasks = sorted(world.running("web"), key=lambda task: task.created_at)
    for one, following in itertools.pairwise(tasks):
        assert one.status.running_at is not None
        assert (following.created_at - one.status.running_at).total_seconds() == 7


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_a_failing_update_pauses(order: str) -> None:
    """The rest stays as it was, and the status names the task that failed."""
    world = World(life_of=bad_images_fail)
    update = UpdateConfig(parallelism=1, order=order, delay=5 * SECOND)
    before = running_service(world, service(replicas=5, update=update))
    world.store.put(with_image(before, "bad"))
    world.run(20)
    status = world.store.services["web"].update_status
    assert status is not None
    assert status.state == "paused"
    assert status.message.startswith("update paused due to failure or early termination of task ")
    good = [task for task in world.running("web") if image_of(task) == "app:1"]
    assert len(good) == 4
    assert status.message.split()[-1] in {task.id for task in world.tasks("web")}


def test_with_start_first_the_old_task_goes_only_when_the_new_one_runs() -> None:
    """A task that fails in its start costs the service nothing, however often it is tried."""
    world = World(
        life_of=lambda t: Life(start_ends=TaskState.FAILED) if image_of(t) == "bad" else Life()
    )
    update = UpdateConfig(parallelism=1, order="start-first")
    before = running_service(world, service(replicas=3, update=update))
    ids = {task.id for task in world.running("web")}
    world.store.put(with_image(before, "bad"))
    world.run(60)
    assert {task.id for task in world.running("web")} == ids
    status = world.store.services["web"].update_status
    assert status is not None
    assert status.state == "paused"


def test_what_fails_beside_the_old_task_is_tried_again_with_the_usual_delay() -> None:
    """An update that may fail does not begin a slot anew in a tight loop."""
    world = World(
        life_of=lambda t: Life(start_ends=TaskState.FAILED) if image_of(t) == "bad" else Life()
    )
    update = UpdateConfig(parallelism=1, order="start-first", failure_action="continue")
    before = running_service(world, service(replicas=1, update=update))
    world.store.put(with_image(before, "bad"))
    world.run(60)
    assert len(world.running("web")) == 1
    tries = [task.restart_count for task in world.tasks("web") if image_of(task) == "bad"]
    assert 8 <= max(tries) <= 12


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_a_failing_update_rolls_back(order: str) -> None:
    """All tasks are of the old spec in the end; those that were never replaced still run."""
    world = World(life_of=bad_images_fail)
    update = UpdateConfig(parallelism=2, failure_action="rollback", order=order, delay=5 * SECOND)
    before = running_service(world, service(replicas=6, update=update))
    untouched = {task.id for task in world.running("web") if task.slot > 2}
    world.store.put(with_image(before, "bad"))
    world.run(200)
    after = world.store.services["web"]
    assert after.update_status is not None
    assert (after.update_status.state, after.update_status.message) == (
        "rollback_completed",
        "rollback completed",
    )
    assert after.spec == before.spec
    assert after.previous_spec is None
    assert after.spec_version > before.spec_version + 1
    running = world.running("web")
    assert sorted(task.slot for task in running) == [1, 2, 3, 4, 5, 6]
    assert {image_of(task) for task in running} == {"app:1"}
    assert untouched <= {task.id for task in running}


def test_a_rollback_that_fails_is_not_rolled_back() -> None:
    """Where the old spec fails too, the rollback pauses."""
    broken: set[str] = set()

    def life(task: Task) -> Life:
        return Life(lives_s=2) if broken and task.spec_version > 1 else Life()

    world = World(life_of=life)
    config = UpdateConfig(parallelism=2, failure_action="rollback")
    before = running_service(world, service(replicas=4, update=config, rollback=config))
    broken.add("all that is new")
    world.store.put(with_image(before, "bad"))
    world.run(200)
    status = world.store.services["web"].update_status
    assert status is not None
    assert status.state == "rollback_paused"
    assert status.message.startswith("rollback paused due to failure or early termination of task ")


def test_a_roll_back_by_hand_is_not_blamed_for_what_failed_before() -> None:
    """The old spec's tasks failed when it was new; that they did is history, not a reason."""

    def life(task: Task) -> Life:
        is_first = task.spec_version == 1 and task.restart_count == 0
        return Life(start_ends=TaskState.FAILED) if is_first else Life()

    world = World(life_of=life)
    running_service(world, service(replicas=3, update=UpdateConfig(parallelism=1)))
    world.store.put(with_image(world.store.services["web"], "app:2"))
    world.run(4)
    world.store.put(rolled_back(world.store.services["web"]))
    world.run(100)
    status = world.store.services["web"].update_status
    assert status is not None
    assert status.state == "rollback_completed"
    assert {image_of(task) for task in world.running("web")} == {"app:1"}


def test_a_roll_back_runs_again_what_had_ended() -> None:
    """Also in slots that the update had not come to: the service is as if it were new. As swarm."""

    def life(task: Task) -> Life:
        if image_of(task) == "bad":
            return Life(start_ends=TaskState.FAILED)
        return Life(lives_s=1, ends=TaskState.COMPLETE)

    world = World(life_of=life)
    update = UpdateConfig(parallelism=1, failure_action="rollback", delay=5 * SECOND)
    once = template(restart=TaskRestartPolicy(condition="none"))
    before = running_service(world, service(replicas=2, update=update, spec=once))
    world.store.put(with_image(before, "bad"))
    world.run(60)
    complete = [t.slot for t in world.tasks("web") if t.status.state is TaskState.COMPLETE]
    assert sorted(complete) == [1, 1, 2, 2]


def test_nothing_to_roll_back_to_pauses() -> None:
    world = World(life_of=bad_images_fail)
    update = UpdateConfig(parallelism=1, failure_action="rollback")
    before = running_service(world, service(replicas=2, update=update))
    world.store.put(replace(with_image(before, "bad"), previous_spec=None))
    world.run(100)
    status = world.store.services["web"].update_status
    assert status is not None
    assert status.state == "paused"


def test_an_update_that_may_fail_goes_on() -> None:
    """With `continue` every slot is tried, however many fail."""
    world = World(life_of=bad_images_fail)
    update = UpdateConfig(parallelism=1, failure_action="continue")
    before = running_service(world, service(replicas=3, update=update))
    world.store.put(with_image(before, "bad"))
    world.run(300)
    status = world.store.services["web"].update_status
    assert status is not None
    assert status.state == "completed"
    wanted = [task for task in world.tasks("web") if task.desired_state <= TaskState.RUNNING]
    assert {image_of(task) for task in wanted} == {"bad"}


def test_a_ratio_of_failures_is_borne() -> None:
    """One failure in five slots is 0.2: more than 0.1, and not more than 0.2."""
    for ratio, state in ((0.1, "paused"), (0.2, "completed")):
        restart = TaskRestartPolicy(delay=60 * SECOND)

        def life(task: Task) -> Life:
            is_bad = task.slot == 2 and image_of(task) == "app:2" and task.restart_count == 0
            return Life(lives_s=1) if is_bad else Life()

        world = World(life_of=life)
        update = UpdateConfig(parallelism=1, max_failure_ratio=ratio)
        made = service(replicas=5, update=update, spec=template(restart=restart))
        before = running_service(world, made)
        world.store.put(with_image(before, "app:2"))
        world.run(300)
        status = world.store.services["web"].update_status
        assert status is not None
        assert status.state == state


def test_a_task_that_ends_after_the_monitored_time_is_no_failure() -> None:
    """What runs longer than `monitor` is restarted, and the update goes on."""

    def life(task: Task) -> Life:
        return Life(lives_s=6) if image_of(task) == "app:2" else Life()

    world = World(life_of=life)
    update = UpdateConfig(parallelism=1, delay=4 * SECOND)  # monitored for 5 s
    before = running_service(world, service(replicas=4, update=update))
    world.store.put(with_image(before, "app:2"))
    world.run(40)
    status = world.store.services["web"].update_status
    assert status is not None
    assert status.state == "completed"


def test_another_update_takes_over() -> None:
    """What an update under way has not replaced yet, the next one replaces by its own spec."""
    world = World()
    before = running_service(world, service(replicas=8, update=UpdateConfig(parallelism=1)))
    world.store.put(with_image(before, "app:2"))
    world.run(6)
    world.store.put(with_image(world.store.services["web"], "app:3"))
    world.run(200)
    running = world.running("web")
    assert {image_of(task) for task in running} == {"app:3"}
    assert len(running) == 8


def test_a_paused_update_goes_on_with_the_next_spec() -> None:
    """Also where the next spec is the old one: a rollback by hand."""
    world = World(life_of=bad_images_fail)
    before = running_service(world, service(replicas=3, update=UpdateConfig(parallelism=1)))
    world.store.put(with_image(before, "bad"))
    world.run(60)
    world.store.put(updated(world.store.services["web"], before.spec))
    world.run(100)
    assert {image_of(task) for task in world.running("web")} == {"app:1"}
    assert len(world.running("web")) == 3


def test_scaling_is_no_update() -> None:
    """Nothing that runs is replaced, and no update status appears."""
    world = World()
    before = running_service(world, service(replicas=3))
    ids = {task.id for task in world.running("web")}
    world.store.put(scaled(before, 5))
    world.run(60)
    assert ids < {task.id for task in world.running("web")}
    assert world.store.services["web"].update_status is None


def test_scaling_in_an_update() -> None:
    """Slots that are added are of the new spec; slots that go are not replaced first."""
    for replicas in (12, 2):
        world = World()
        before = running_service(world, service(replicas=6, update=UpdateConfig(parallelism=1)))
        after = with_image(before, "app:2")
        mode = ServiceMode(replicated=Replicated(replicas=replicas))
        world.store.put(replace(after, spec=replace(after.spec, mode=mode)))
        world.run(200)
        running = world.running("web")
        assert len(running) == replicas
        assert {image_of(task) for task in running} == {"app:2"}
        status = world.store.services["web"].update_status
        assert status is not None
        assert status.state == "completed"


def test_constraints_that_the_node_meets_replace_nothing() -> None:
    """Only the tasks that have to move are replaced."""
    world = World()
    before = running_service(world, service(replicas=4))
    placed = {task.id: task.node_id for task in world.running("web")}
    task = replace(
        before.spec.task_template, placement=Placement(constraints=["node.hostname != node1"])
    )
    world.store.put(updated(before, replace(before.spec, task_template=task)))
    world.run(100)
    running = {task.id: task.node_id for task in world.running("web")}
    assert len(running) == 4
    assert "node1" not in running.values()
    assert {id for id, at in placed.items() if at != "node1"} <= running.keys()


def test_other_ports_replace_all_tasks() -> None:
    world = World()
    before = running_service(world, service(replicas=2))
    ids = {task.id for task in world.running("web")}
    ports = EndpointSpec(ports=[PortConfig(target_port=80, published_port=80, publish_mode="host")])
    world.store.put(updated(before, replace(before.spec, endpoint_spec=ports)))
    world.run(100)
    assert len(world.running("web")) == 2
    assert ids.isdisjoint(task.id for task in world.running("web"))


def test_an_ended_task_is_replaced_by_an_update() -> None:
    """What had run to its end and was not to be restarted runs again with the new spec."""
    restart = TaskRestartPolicy(condition="none")
    world = World(
        life_of=lambda t: (
            Life(lives_s=1, ends=TaskState.COMPLETE) if image_of(t) == "app:1" else Life()
        )
    )
    before = running_service(world, service(replicas=2, spec=template(restart=restart)))
    assert world.running("web") == []
    world.store.put(with_image(before, "app:2"))
    world.run(60)
    assert sorted(task.slot for task in world.running("web")) == [1, 2]


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_a_global_service_is_updated_node_by_node(order: str) -> None:
    world = World()
    update = UpdateConfig(parallelism=1, order=order)
    before = running_service(world, service(mode=GLOBAL, update=update))
    world.store.put(with_image(before, "app:2"))
    world.run(3)
    assert {image_of(task) for task in world.running("web")} == {"app:1", "app:2"}
    world.run(100)
    running = world.running("web")
    assert sorted(task.node_id for task in running) == ["node1", "node2", "node3", "node4"]
    assert {image_of(task) for task in running} == {"app:2"}


def test_a_node_that_fails_in_an_update_does_not_hold_it_up() -> None:
    """Its tasks are made anew elsewhere, of the new spec, and the update completes."""
    for order in ("stop-first", "start-first"):
        world = World()
        update = UpdateConfig(parallelism=1, order=order)
        before = running_service(world, service(replicas=8, update=update))
        world.store.put(with_image(before, "app:2"))
        world.run(4)
        world.cut_off("node2")
        world.run(300)
        running = [task for task in world.running("web") if task.node_id != "node2"]
        assert sorted(task.slot for task in running) == list(range(1, 9))
        assert {image_of(task) for task in running} == {"app:2"}
        status = world.store.services["web"].update_status
        assert status is not None
        assert status.state == "completed"
