"""Removals: noted before they begin, and what they do when that cannot be noted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.lowlevel

from services.containers import Container, ContainerTable, State
from services.containers.journal import Journal
from services.containers.remove import Remover
from services.containers.runs.run import Runs
from services.containers.stop import Stopper
from services.errors import EngineError, Unavailable
from services.events import Event
from tests.services.containers.support import container


@dataclass
class World:
    """Disk, images and volumes; notes what was done. The disk can refuse, the images can fail."""

    done: list[str] = field(default_factory=list)
    disk_error: Exception | None = None
    image_error: Exception | None = None

    async def change_status(self, container: Container, *_: Event, **changes: Any) -> None:
        """The journal's."""
        if self.disk_error is not None:
            raise self.disk_error
        self.done.append(f"disk: {changes['state']}")
        container.replace(status=msgspec.structs.replace(container.status, **changes))

    async def change_in_memory(self, container: Container, **changes: Any) -> None:
        """The journal's."""
        container.replace(status=msgspec.structs.replace(container.status, **changes))

    async def delete(self, container_id: str, *events: Event) -> None:
        """The journal's."""
        self.done.append(f"disk: {events[0].action}")

    async def remove_rootfs(self, key: str) -> None:
        """The images'."""
        if self.image_error is not None:
            raise self.image_error
        self.done.append("snapshot")

    async def remove_anonymous(self, names: Iterable[str], *, container_id: str) -> None:
        """The volumes'."""

    async def say_farewell(self, container: Container) -> None:
        """The log's."""

    async def forget(self, container: Container) -> None:
        """Everybody's."""
        self.done.append("forgotten")


def remover(world: World, table: ContainerTable, directory: Path) -> Remover:
    """One over `world`, with nothing that runs."""
    journal = cast("Journal", world)
    runs = Runs(start_child=_refuse)
    return Remover(
        table=table,
        journal=journal,
        runs=runs,
        stopper=cast("Stopper", None),
        root_filesystems=world,
        volumes=world,
        say_farewell=world.say_farewell,
        forget=world.forget,
        directory=directory,
        disk=trio.CapacityLimiter(1),
    )


async def _refuse(spec: object) -> None:
    raise AssertionError(f"nothing runs here: {spec}")


def one_in(table: ContainerTable, directory: Path) -> Container:
    """A container that has ended, with its folder."""
    one = container(State.EXITED)
    table.add(one)
    (directory / one.id).mkdir()
    return one


async def test_a_removal_is_noted_first_and_the_row_goes_last(tmp_path: Path) -> None:
    """A kill in between leaves a row that says what is to be finished."""
    world, table = World(), ContainerTable()
    one = one_in(table, tmp_path)
    await remover(world, table, tmp_path).remove(one)
    assert world.done == ["disk: removing", "snapshot", "disk: destroy", "forgotten"]
    assert table.get(one.id) is None
    assert not (tmp_path / one.id).exists()


async def test_on_a_full_disk_room_can_be_made_by_a_removal(tmp_path: Path) -> None:
    """It is not noted, and done all the same."""
    world, table = World(disk_error=EngineError("disk is full")), ContainerTable()
    one = one_in(table, tmp_path)
    await remover(world, table, tmp_path).remove(one)
    assert world.done == ["snapshot", "disk: destroy", "forgotten"]
    assert table.get(one.id) is None


async def test_a_failed_removal_on_a_full_disk_can_be_tried_again(tmp_path: Path) -> None:
    """The container is dead meanwhile, as far as this daemon knows."""
    world, table = World(disk_error=EngineError("disk is full")), ContainerTable()
    world.image_error = EngineError("busy")
    one = one_in(table, tmp_path)
    with pytest.raises(EngineError, match="could not be removed: busy"):
        await remover(world, table, tmp_path).remove(one)
    assert (one.state, world.done) == (State.DEAD, [])
    await remover(world, table, tmp_path).finish(one)
    assert one.state is State.DEAD
    world.image_error = None
    await remover(world, table, tmp_path).finish(one)
    assert table.get(one.id) is None


async def test_a_store_that_is_away_is_waited_for_and_not_passed_by(tmp_path: Path) -> None:
    """It comes back; nothing was touched."""
    world, table = World(disk_error=Unavailable("being reopened")), ContainerTable()
    one = one_in(table, tmp_path)
    with pytest.raises(Unavailable):
        await remover(world, table, tmp_path).remove(one)
    assert (one.state, world.done) == (State.EXITED, [])
