"""The bound on all logs together: when it is looked after, what it does, what it says."""

from __future__ import annotations

import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from services.containers import log_budget
from services.containers.container import Container
from services.containers.log_budget import LogBudget, LogPlaces
from services.containers.logs import FileLog, FileOptions, JsonLines, LogCounts
from services.containers.stdio import Stream
from services.containers.table import ContainerTable
from tests.services.containers.logs.lines import logged_text
from tests.services.containers.support import container

LINE = b"x" * 900 + b"\n"
BUDGET = 100_000


@dataclass
class Scene:
    """Containers with logs, under one budget."""

    folder: Path
    budget: int = BUDGET
    table: ContainerTable = field(default_factory=ContainerTable)
    counts: LogCounts = field(default_factory=LogCounts)
    logs: dict[str, FileLog] = field(default_factory=dict)

    def __post_init__(self) -> None:
        places = LogPlaces(
            log_of=lambda container: self.logs[container.id],
            path_of=lambda container: self.folder / container.id / "x.log",
            spool_of=lambda container: self.folder / "io" / container.id,
        )
        self.subject = LogBudget(
            self.table, places, budget_bytes=lambda: self.budget, counts=self.counts
        )

    def add(self, letter: str) -> FileLog:
        """A container whose log is being written."""
        made: Container = container(container_id=letter * 64, name=letter)
        self.table.add(made)
        options = FileOptions(max_bytes=20_000, max_files=50)
        log = FileLog(self.folder / made.id / "x.log", options, JsonLines(), counts=self.counts)
        log.open(None)
        self.logs[made.id] = log
        return log

    def used(self) -> int:
        return sum(map(size_of, self.folder.rglob("*")))


def size_of(path: Path) -> int:
    """Of a file; of one that a sweep has just removed, nothing."""
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_size if stat.S_ISREG(found.st_mode) else 0
    return 0


def write(log: FileLog, lines: int) -> None:
    """As a spool does."""
    for _ in range(lines):
        while not log.write(Stream.STDOUT, LINE):
            pass
        log.position()
        log.recorded()


async def until_kept(scene: Scene) -> None:
    """Let it work until the logs fit."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(scene.subject.run)
            while scene.used() > scene.budget or scene.subject.used_bytes != scene.used():
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_budget, "_LOOK_S", 0.005)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_noisy_log_pays_and_the_quiet_one_keeps_its_lines(scene: Scene) -> None:
    """What is left of the noisy one is its latest; it is counted and told of."""
    quiet, noisy = scene.add("a"), scene.add("b")
    write(quiet, 10)
    assert not scene.subject.warnings
    write(noisy, 300)
    await until_kept(scene)
    assert logged_text(quiet) == LINE * 10
    assert len(logged_text(noisy)) > BUDGET // 2
    assert scene.subject.removed_files > 5
    assert scene.subject.removed_bytes > 150_000
    (warning,) = scene.subject.warnings
    assert "older lines were removed" in warning
    assert "log-budget's 0.1 MB" in warning


async def test_output_that_comes_later_is_seen_by_its_counts(scene: Scene) -> None:
    """Not by the sweep of each minute."""
    noisy = scene.add("b")
    await until_kept(scene)
    async with trio.open_nursery() as nursery:
        await nursery.start(scene.subject.run)
        for _ in range(5):
            write(noisy, 150)
            with trio.fail_after(60):
                while scene.used() > BUDGET:
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_smaller_budget_is_kept_to_and_none_is_none(scene: Scene) -> None:
    """As a reload makes it."""
    noisy = scene.add("b")
    write(noisy, 90)
    before = scene.used()
    scene.budget = 0
    async with trio.open_nursery() as nursery:
        await nursery.start(scene.subject.run)
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert scene.used() == before
    scene.budget = 30_000
    await until_kept(scene)
    assert scene.used() <= 30_000
    scene.budget = 0
    assert scene.subject.warnings == ()


async def test_log_that_cannot_be_shortened_keeps_no_other_from_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk refuses; /info says that logs do not fit while they do not."""
    broken, noisy = scene.add("a"), scene.add("b")
    write(broken, 200)
    write(noisy, 100)

    def refuse(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(broken, "drop_oldest", refuse)
    async with trio.open_nursery() as nursery:
        await nursery.start(scene.subject.run)
        with trio.fail_after(60):
            while not scene.subject.removed_files:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    (warning,) = scene.subject.warnings
    assert "more than log-budget's" in warning
    assert len(logged_text(broken)) == 200 * len(LINE)
