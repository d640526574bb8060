"""Prune: whom it takes, what it counts, and what happens beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from services.containers import Container, State
from services.containers.config import ContainerConfig
from services.containers.prune import PruneFilters, Pruner
from services.errors import Conflict, NotFound
from services.events import Event
from tests.services.api.containers import BORN_NS, container, exited, running


@dataclass
class World:
    """Containers with sizes by their first digit; keeps what was removed and told."""

    containers: list[Container]
    refuses: frozenset[str] = frozenset()
    removed: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    at_work: int = 0
    most_at_work: int = 0

    async def tell(self, *events: Event) -> None:
        """The journal's."""
        self.events += events

    async def written_bytes(self, one: Container) -> int:
        """ "9" has lost its snapshot."""
        await trio.lowlevel.checkpoint()
        if one.id[0] == "9":
            raise NotFound("no such snapshot")
        return int(one.id[0])

    async def remove(self, one: Container) -> None:
        """Takes a while."""
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        await trio.sleep(1)
        self.at_work -= 1
        if one.id[0] in self.refuses:
            raise Conflict("it has been started")
        self.removed.append(one.id[0])


def pruner(world: World) -> Pruner:
    """One that works on `world`."""
    return Pruner(
        table=world.containers,
        journal=world,
        written_bytes=world.written_bytes,
        remove=world.remove,
    )


async def test_what_is_removed_is_counted_and_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One that cannot be removed is passed over; one that had nothing left counts nothing."""
    digits = ("1", "2", "3", "9")
    world = World([container(d, status=exited()) for d in digits], refuses=frozenset("2"))
    pruned = await pruner(world).prune(PruneFilters())
    assert sorted(i[0] for i in pruned.container_ids) == ["1", "3", "9"]
    assert pruned.reclaimed_bytes == 4
    assert [(e.type, e.action, dict(e.attributes)) for e in world.events] == [
        ("container", "prune", {"reclaimed": "4"})
    ]


async def test_a_second_prune_at_the_same_time_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And a third one after both is not."""
    world = World([container("1", status=exited())])
    one = pruner(world)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.prune, PruneFilters())
        await trio.sleep(0.5)
        with pytest.raises(Conflict, match="a prune operation is already running"):
            await one.prune(PruneFilters())
    await one.prune(PruneFilters())
    assert len(world.events) == 2


async def test_a_few_are_removed_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    """Faster than one by one; many clients of containerd at once are no help."""
    world = World([container(f"1{n:02}", status=exited()) for n in range(20)])
    await pruner(world).prune(PruneFilters())
    assert len(world.removed) == 20
    assert world.most_at_work == 4


@pytest.mark.parametrize("state", [*State])
def test_only_what_does_not_run_is_chosen(state: State) -> None:
    """Paused and restarting containers run, in Docker's words."""
    runs = state in (State.RUNNING, State.PAUSED, State.RESTARTING)
    assert PruneFilters().choose(container(status=running(state=state))) is not runs


@pytest.mark.parametrize(
    ("filters", "chosen"),
    [
        (PruneFilters(), True),
        (PruneFilters(until_ns=BORN_NS), True),
        (PruneFilters(until_ns=BORN_NS - 1), False),
        (PruneFilters(labels=("a",)), True),
        (PruneFilters(labels=("a=1", "b")), True),
        (PruneFilters(labels=("a=2",)), False),
        (PruneFilters(labels=("a", "c")), False),
        (PruneFilters(not_labels=("c",)), True),
        (PruneFilters(not_labels=("a=2",)), True),
        (PruneFilters(not_labels=("a",)), False),
        (PruneFilters(not_labels=("a", "c")), True),
        (PruneFilters(not_labels=("b=",)), True),
    ],
)
def test_filters_must_all_hold(filters: PruneFilters, chosen: bool) -> None:
    """Age, labels, and labels that protect only together."""
    config = ContainerConfig(image="busybox", labels={"a": "1", "b": "x"})
    assert filters.choose(container(config=config, status=exited())) is chosen
