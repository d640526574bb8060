"""tree(): the picture of the whole tree, and the paths in it."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from supervisor.otp import (
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    Intensity,
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
