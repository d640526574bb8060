"""supervisor.reloading.reloader: one reload at a time, all of it or nothing."""

from __future__ import annotations

import dataclasses
import importlib.abc
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio

import supervisor.reloading
from services.containers.spec import SpecDefaults
from services.errors import Conflict, EngineError, InvalidParameter, Unavailable
from supervisor.configuration.in_force import Current, InForce
from supervisor.configuration.loading import load
from supervisor.configuration.settings import ConfigError, Settings
from supervisor.reloading.reloader import WAITING_LIMIT, Reloader
from supervisor.reloading.transaction import Step


class Notifier:
    """What systemd would hear."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def reloading(self) -> None:
        self.said.append("reloading")

    def ready(self, status: str) -> None:
        self.said.append(f"ready {status}")


class World:
    """A configuration file, and parts that come up, fail or take their time."""

    def __init__(self, folder: Path) -> None:
        (folder / "daemon.json").write_text("{}")
        self.file = load({"config-file": str(folder / "daemon.json")}, {})
        self.current = Current(InForce(settings=self.file, defaults=SpecDefaults(), tls=None))
        self.notifier = Notifier()
        self.errors: list[str] = []  # as the events tell them
        self.broken = ""  # why the file cannot be read
        self.fails = ""  # why a part does not come up
        self.takes_s = 0.0
        self.announcing: BaseException | None = None
        self.under_way = self.most = self.taken = self.finished = 0
        self.reloader = Reloader(
            current=self.current,
            read=self._read,
            prepare=lambda settings: InForce(settings=settings, defaults=SpecDefaults(), tls=None),
            make_changer=lambda: cast(Any, self),
            notifier=cast(Any, self.notifier),
            announce=self._announce,
        )

    def edit(self, **changes: Any) -> None:
        """Write the file."""
        self.file = dataclasses.replace(self.file, **changes)

    def _read(self) -> Settings:
        if self.broken:
            raise ConfigError(self.broken)
        return self.file

    async def _announce(self, error: str) -> None:
        if self.announcing is not None:
            raise self.announcing
        self.errors.append(error)

    def steps(self, new: InForce) -> list[Step]:
        """As a Changer's: one step."""
        old = self.current.in_force

        async def apply() -> None:
            self.taken += 1
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.current.in_force = new
            await trio.sleep(self.takes_s)
            self.under_way -= 1
            if self.fails:
                raise OSError(self.fails)

        async def revert() -> None:
            self.current.in_force = old

        return [Step(name="part", apply=apply, revert=revert)]

    async def finish(self, old: InForce, new: InForce) -> None:
        """As a Changer's."""
        self.finished += 1

    async def settle(self) -> None:
        """As a Changer's."""


class ImportWatch(importlib.abc.MetaPathFinder):
    """Sees in which thread the modules below a name are looked for; finds none."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.threads: dict[str, int] = {}

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname.startswith(self.prefix):
            self.threads[fullname] = threading.get_ident()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Reloader]:
    async with trio.open_nursery() as nursery:
        await nursery.start(world.reloader.run)
        yield world.reloader
        nursery.cancel_scope.cancel()


async def test_a_reload_changes_what_is_in_force(world: World) -> None:
    """The event tells of it, systemd hears of its beginning and its end."""
    world.edit(labels=("a=b",), data_root=Path("/new"))
    async with running(world) as reloader:
        plan = await reloader.reload()
    assert (plan.live, plan.waiting) == (("labels",), ("data-root",))
    labels = list(world.current.settings().labels)
    assert labels == ["a=b"]
    assert world.current.settings().data_root != Path("/new")
    assert world.notifier.said == ["reloading", "ready serving"]
    assert (world.errors, world.finished) == ([""], 1)
    assert reloader.warnings == (
        "WARNING: changed settings wait for a restart of the daemon: data-root",
    )


async def test_a_dry_run_does_nothing(world: World) -> None:
    """It says what would happen; nobody else hears of it."""
    world.edit(labels=("a=b",))
    async with running(world) as reloader:
        plan = await reloader.reload(dry_run=True)
    assert plan.live == ("labels",)
    assert world.current.settings().labels == ()
    assert (world.taken, world.errors, world.notifier.said) == (0, [], [])


async def test_a_broken_file_changes_nothing_and_is_told(world: World) -> None:
    """To the caller, in the event, in /info; systemd hears that we are ready again."""
    before, world.broken = world.current.in_force, "line 3: no"
    async with running(world) as reloader:
        with pytest.raises(InvalidParameter, match="line 3: no"):
            await reloader.reload()
        assert reloader.warnings == ("WARNING: line 3: no",)
        world.broken = ""
        await reloader.reload()
    assert world.current.in_force.settings == before.settings
    assert world.errors == ["line 3: no", ""]
    assert world.notifier.said == ["reloading", "ready serving"] * 2
    assert list(reloader.warnings) == []


async def test_a_part_that_does_not_come_up_undoes_all(world: World) -> None:
    """What was in force is in force, and nothing was taken away."""
    world.edit(labels=("a=b",))
    before, world.fails = world.current.in_force, "address in use"
    async with running(world) as reloader:
        with pytest.raises(EngineError, match="does not work: part: address in use"):
            await reloader.reload()
    assert world.current.in_force is before
    assert world.finished == 0
    assert "address in use" in world.errors[0]
    assert "address in use" in reloader.warnings[0]


async def test_one_at_a_time(world: World) -> None:
    """Those that come meanwhile wait for their turn; too many are refused."""
    world.takes_s = 0.002
    refused = 0

    async def ask() -> None:
        nonlocal refused
        try:
            await world.reloader.reload()
        except Conflict:
            refused += 1

    async with running(world), trio.open_nursery() as nursery:
        for _ in range(WAITING_LIMIT + 5):
            nursery.start_soon(ask)
    assert world.most == 1
    assert world.taken == WAITING_LIMIT + 5 - refused
    assert 4 <= refused <= 5


async def test_a_caller_who_leaves_cuts_nothing(world: World) -> None:
    """The reload is carried through."""
    world.takes_s = 0.05
    world.edit(labels=("a=b",))
    async with running(world) as reloader:
        with trio.move_on_after(0.02):
            await reloader.reload()
        while not world.finished:
            await trio.sleep(0.001)
    assert world.current.settings().labels == ("a=b",)


async def test_the_end_of_the_engine_undoes_one_that_is_under_way(world: World) -> None:
    """And who waits for it is told so."""
    world.takes_s = 3600.0
    world.edit(labels=("a=b",))
    told: list[str] = []

    async def ask() -> None:
        try:
            await world.reloader.reload()
        except EngineError as error:
            told.append(str(error))

    async with trio.open_nursery() as callers, running(world):
        callers.start_soon(ask)
        while not world.under_way:
            await trio.sleep(0.001)
    assert told == ["the reload was cut off, and undone"]
    assert world.current.settings().labels == ()


async def test_events_that_are_away_hold_nothing_up(world: World) -> None:
    """The event is for those who listen now."""
    world.edit(labels=("a=b",))
    world.announcing = Unavailable("the disk is full")
    async with running(world) as reloader:
        await reloader.reload()
    assert world.current.settings().labels == ("a=b",)


async def test_a_first_reload_imports_nothing_on_the_loop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it needs beside the reloader itself comes in the thread that reads the file."""
    late = [f"supervisor.reloading.{name}" for name in ("plan", "steps", "table", "transaction")]
    for name in late:
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.delattr(supervisor.reloading, name.rpartition(".")[2], raising=False)
    watch = ImportWatch("supervisor.reloading.")
    monkeypatch.setattr(sys, "meta_path", [watch, *sys.meta_path])
    world.edit(labels=("a=b",))
    async with running(world) as reloader:
        await reloader.reload()
    assert sorted(watch.threads) == late
    assert threading.get_ident() not in watch.threads.values()
