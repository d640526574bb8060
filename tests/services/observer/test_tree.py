"""services.observer: pictures of the tree, and restarts by hand of what may be restarted."""

from __future__ import annotations

import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from services.errors import Conflict, NotFound
from services.observer.restarts import Restarts, refusal
from services.observer.tree import Part, Pictures
from supervisor.otp import ChildType, Node, Restart, State
from tests.services.observer.support import ID, Names, SmallTree

CONTAINER = f"root/engine/containers/running/{ID}"


def parts(part: Part) -> dict[str, Part]:
    """All of them, by path."""
    found = {part.path: part}
    for child in part.children:
        found |= parts(child)
    return found


async def test_the_picture_has_containers_as_leaves() -> None:
    """Their parts are left out unless they are asked for."""
    tree = SmallTree()
    pictures = Pictures(tree.root, Names())
    async with tree.run():
        shown = parts(pictures.whole())
        assert CONTAINER in shown
        assert not any(path.startswith(f"{CONTAINER}/") for path in shown)
        container = shown[CONTAINER].container
        assert container is not None
        assert (container.name, container.image) == ("web", "busybox")
        supervision = shown[CONTAINER].supervisor
        assert supervision is not None
        assert supervision.child_count == 2
        assert f"{CONTAINER}/pump" in parts(pictures.whole(None))


async def test_instants_are_of_the_wall_clock() -> None:
    """Since when it is in its state, and when it crashed."""
    tree = SmallTree()
    pictures = Pictures(tree.root, Names())
    async with tree.run():
        before = time.time_ns()
        tree.crash("images")
        await wait_all_tasks_blocked()
        part = parts(pictures.whole())["root/engine/images"]
        after = time.time_ns()
    between_looks_ns = 10 * 10**9  # at two clocks; a busy machine takes its time
    assert before - between_looks_ns < part.since_ns < after + between_looks_ns
    assert part.last_crash is not None
    assert before < part.last_crash.at_ns < after
    assert (part.crashes, part.restarts, part.state) == (1, 1, "running")
    assert part.last_crash.error == "Boom: images was told to"
    assert part.last_crash.traceback == ""


async def test_one_part_has_its_traceback() -> None:
    """And what is below it, to the end."""
    tree = SmallTree()
    pictures = Pictures(tree.root, Names())
    async with tree.run():
        tree.crash("images")
        await wait_all_tasks_blocked()
        part = await pictures.part("root/engine/images")
        assert part.last_crash is not None
        assert "raise Boom(" in part.last_crash.traceback
        container = await pictures.part(CONTAINER)
        assert [child.id for child in container.children] == ["pump", "exec-1"]
        with pytest.raises(NotFound, match="No such part: root/x"):
            await pictures.part("root/x")


async def test_a_restart_by_hand(autojump_clock: MockClock) -> None:
    """Of a worker, of a container's supervisor, of a part of it: none is a crash."""
    tree = SmallTree()
    pictures, restarts = Pictures(tree.root, Names()), Restarts(tree.root)
    async with tree.run():
        for path in ("root/engine/images", f"{CONTAINER}/pump", CONTAINER):
            await restarts.restart(path)
            part = await pictures.part(path)
            assert (part.restarts, part.crashes, part.state) == (1, 0, "running"), path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("root", "the whole engine"),
        ("root/engine", "other parts are below it"),
        ("root/engine/containers/running", "other parts are below it"),
        ("root/listeners", "clients would be refused"),
        (f"{CONTAINER}/exec-1", "would not come back"),
    ],
)
async def test_what_is_not_restarted(path: str, why: str) -> None:
    """Refused with the reason that the picture gives as well; nothing has ended."""
    tree = SmallTree()
    async with tree.run():
        shown = parts(Pictures(tree.root, Names()).whole(None))
        assert not shown[path].can_restart
        assert why in shown[path].why_not
        with pytest.raises(Conflict, match=why):
            await Restarts(tree.root).restart(path)
        assert all(
            part.restarts == 0 for part in parts(Pictures(tree.root, Names()).whole()).values()
        )


async def test_a_part_that_is_not_there() -> None:
    """404, not a guess."""
    tree = SmallTree()
    async with tree.run():
        with pytest.raises(NotFound):
            await Restarts(tree.root).restart("root/engine/imag")


@pytest.mark.parametrize(
    "path", ["root/faces/api", "root/faces/api/server-0", "root/faces/observer"]
)
def test_what_carries_the_request_is_not_restarted(path: str) -> None:
    """The answer would be cut."""
    assert "request" in refusal(node(path))


def test_what_does_not_run_is_not_restarted() -> None:
    """It is on its way already, or has done its work."""
    assert refusal(node("root/engine/x", state=State.RESTARTING)) == "it is restarting"
    assert refusal(node("root/engine/x", state=State.STOPPED)) == "it is stopped"
    assert refusal(node("root/engine/x")) == ""


def node(path: str, state: State = State.RUNNING) -> Node:
    return Node(
        path=path,
        id="x",
        type=ChildType.WORKER,
        state=state,
        since=1.0,
        restart=Restart.PERMANENT,
    )


async def test_a_restart_that_nobody_waits_for_is_carried_through() -> None:
    """The client may have left."""
    tree = SmallTree()
    async with tree.run():
        with trio.move_on_after(0) as scope:
            await Restarts(tree.root).restart("root/engine/images")
        await wait_all_tasks_blocked()
        part = await Pictures(tree.root, Names()).part("root/engine/images")
        assert part.state == "running"
        assert scope.cancelled_caught
