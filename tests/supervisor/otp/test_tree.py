"""tree(): the picture of the whole tree, and the paths in it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from supervisor.otp import (
    Backoff,
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    Intensity,
    NotFound,
    Restart,
    State,
    Strategy,
    Supervisor,
)
from tests.supervisor.otp.stage import Boom, Stage, running


async def test_paths_follow_the_nesting(autojump_clock: MockClock) -> None:
    """A supervisor below another one knows its path, and the tree shows all of it."""
    stage = Stage()
    containers = DynamicSupervisor(name="containers")
    engine = Supervisor([child_of(containers)], name="engine")
    root = Supervisor([stage.spec("store"), child_of(engine)], name="root")
    async with running(root):
        await containers.start_child(stage.spec("web"))
        assert containers.path == "root/engine/containers"
        assert [node.path for node in root.tree().walk()] == [
            "root",
            "root/store",
            "root/engine",
            "root/engine/containers",
            "root/engine/containers/web",
        ]


async def test_path_is_that_of_the_child_whatever_the_name(autojump_clock: MockClock) -> None:
    """The child's id is its place in the tree; a second supervisor in one child adds its name."""
    first, second = Supervisor(name="x"), Supervisor(name="y")

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(first.run)
            nursery.start_soon(second.run)

    root = Supervisor([ChildSpec(id="pair", start=both)], name="root")
    async with running(root):
        await trio.sleep(1)
        assert (first.path, second.path) == ("root/pair", "root/pair/y")


async def test_node_of_a_child(autojump_clock: MockClock) -> None:
    """State, time of the last start, restarts and the last crash."""
    stage = Stage()
    root = Supervisor([stage.spec("a")], name="root", intensity=Intensity(max_restarts=5))
    async with running(root):
        await trio.sleep(7)
        await stage.tell("a", "crash")
        (node,) = root.tree().children
        assert (node.state, node.since, node.restarts) == (State.RUNNING, 7.0, 1)
        assert isinstance(node.last_crash, Boom)


async def test_node_of_a_supervisor(autojump_clock: MockClock) -> None:
    """Strategy, intensity, and how much of it is left."""
    stage = Stage()
    intensity = Intensity(max_restarts=5, window_s=10.0)
    root = Supervisor(
        [stage.spec("a")], name="root", strategy=Strategy.ONE_FOR_ALL, intensity=intensity
    )
    async with running(root):
        await stage.tell("a", "crash")
        facts = root.tree().supervisor
        assert facts is not None
        assert (facts.strategy, facts.max_restarts) == (Strategy.ONE_FOR_ALL, 5)
        assert (facts.window_s, facts.restarts_left) == (10.0, 4)
        await trio.sleep(11)
        facts = root.tree().supervisor
        assert facts is not None
        assert facts.restarts_left == 5


async def test_nested_supervisor_that_is_stopped_is_a_leaf(autojump_clock: MockClock) -> None:
    """Only what runs has children."""
    stage = Stage()
    inner = Supervisor([stage.spec("a")], name="inner")
    root = Supervisor([child_of(inner)], name="root")
    async with running(root):
        assert len(root.tree().children[0].children) == 1
        await root.terminate_child("inner")
        (node,) = root.tree().children
        assert (node.state, node.supervisor, node.children) == (State.STOPPED, None, ())


def child_of(supervisor: Supervisor | DynamicSupervisor) -> ChildSpec:
    """It as a child of another one."""
    return ChildSpec(id=supervisor.name, start=supervisor.run, type=ChildType.SUPERVISOR)


async def test_depth_cuts_the_picture(autojump_clock: MockClock) -> None:
    """So many levels below the top; who is left out is still counted."""
    stage = Stage()
    inner = Supervisor([stage.spec("a"), stage.spec("b")], name="inner")
    root = Supervisor([child_of(inner)], name="root")
    async with running(root):
        cut = root.tree(1)
        assert [node.path for node in cut.walk()] == ["root", "root/inner"]
        facts = cut.children[0].supervisor
        assert facts is not None
        assert facts.child_count == 2
        assert [node.path for node in root.tree(0).walk()] == ["root"]


async def test_locate_finds_the_supervisor_of_a_path(autojump_clock: MockClock) -> None:
    """Ids may have slashes in them; what is not there is refused."""
    stage = Stage()
    inner = DynamicSupervisor(name="inner")
    root = Supervisor([stage.spec("store"), child_of(inner)], name="root")
    async with running(root):
        await inner.start_child(stage.spec("pull a/b #1"))
        assert root.locate("root/inner/pull a/b #1") == (inner, "pull a/b #1")
        assert root.locate("root/store") == (root, "store")
        for path in ("root", "root/inner/x", "root/inn", "root/store/x", ""):
            with pytest.raises(NotFound):
                root.locate(path)


async def test_crashes_and_the_time_in_a_state(autojump_clock: MockClock) -> None:
    """A restart that fails counts as a crash as well; a state's time begins with it."""
    stage = Stage()
    child = stage.spec("a", backoff=Backoff(first_s=2.0))
    root = Supervisor([child], name="root", intensity=Intensity(max_restarts=5))
    async with running(root):
        await trio.sleep(3)
        stage.plans["a"].append("fail")
        await stage.tell("a", "crash")
        (node,) = root.tree().children
        assert (node.state, node.state_since, node.crashes) == (State.RESTARTING, 3.0, 1)
        await trio.sleep(3)
        (node,) = root.tree().children
        assert (node.state, node.state_since, node.crashes) == (State.RESTARTING, 5.0, 2)
        await trio.sleep(10)
        (node,) = root.tree().children
        assert (node.state, node.crashes, node.restart) == (State.RUNNING, 2, Restart.PERMANENT)
        assert node.crashed_at_ns > 0
