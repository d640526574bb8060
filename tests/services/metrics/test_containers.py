"""services.metrics.containers: bounded label sets, sums for the rest, reads within a limit."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from services.containers import Container
from services.containers.health.rules import HealthStatus
from services.containers.logs import LogCounts
from services.containers.model import State
from services.containers.stats import (
    BlockCounter,
    CpuUsage,
    InterfaceCounters,
    MemoryUsage,
    PidsUsage,
    Sample,
)
from services.metrics import container_rows
from services.metrics.container_rows import ContainerReader, Row
from services.metrics.containers import PREFIX, ContainerFamilies
from tests.services.containers.support import container

SAMPLE = Sample(
    read_ns=1,
    cpu=CpuUsage(total_ns=2_000_000_000, user_ns=1_500_000_000, throttled_ns=500_000_000),
    memory=MemoryUsage(usage_bytes=1000, limit_bytes=5000, stats={"inactive_file": 400}),
    pids=PidsUsage(current=3),
    io_service_bytes=(
        BlockCounter(major=8, minor=0, op="Read", value=10),
        BlockCounter(major=8, minor=16, op="read", value=5),
        BlockCounter(major=8, minor=0, op="Write", value=7),
        BlockCounter(major=8, minor=0, op="Total", value=17),
    ),
    io_serviced=None,
    networks={
        "eth0": InterfaceCounters(rx_bytes=100, tx_bytes=50),
        "eth1": InterfaceCounters(rx_bytes=1, tx_bytes=2),
    },
)


def row(number: int, *, sample: Sample | None = SAMPLE, lines: int = 0, restarts: int = 0) -> Row:
    return Row(
        id=f"{number:012x}",
        name=f"c{number}",
        image="busybox",
        started_at_ns=number,
        restarts=restarts,
        health=None,
        failing_streak=0,
        log=(lines, 0, 0, 0),
        sample=sample,
    )


def values(families: ContainerFamilies, rows: list[Row]) -> Mapping[str, Mapping[str, float]]:
    """The samples, by name without prefix and by container."""
    found: dict[str, dict[str, float]] = {}
    for family in families.families(rows):
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX)
            found.setdefault(name, {})[sample.labels.get("name", "")] = sample.value
    return found


def test_values_are_in_prometheus_units() -> None:
    """Seconds and bytes; devices and interfaces summed; the working set as docker stats has it."""
    found = values(ContainerFamilies(), [row(1, lines=4, restarts=2)])
    expected = {
        "cpu_seconds_total": 2.0,
        "cpu_user_seconds_total": 1.5,
        "cpu_throttled_seconds_total": 0.5,
        "memory_usage_bytes": 1000,
        "memory_working_set_bytes": 600,
        "memory_limit_bytes": 5000,
        "pids": 3,
        "blkio_read_bytes_total": 15,
        "blkio_written_bytes_total": 7,
        "network_receive_bytes_total": 101,
        "network_transmit_bytes_total": 52,
        "log_written_lines_total": 4,
        "restarts_total": 2,
        "info": 1,
    }
    assert {name: found[name]["c1"] for name in expected} == expected
    assert "healthy" not in found


def test_health_is_there_with_a_check_only() -> None:
    """1 is healthy; starting is not yet."""
    rows = [
        row(1),
        replace(row(2), health=HealthStatus.HEALTHY),
        replace(row(3), health=HealthStatus.STARTING, failing_streak=2),
    ]
    found = values(ContainerFamilies(), rows)
    assert found["healthy"] == {"c2": 1, "c3": 0}
    assert found["failing_streak"] == {"c2": 0, "c3": 2}


def test_label_sets_are_bounded_and_the_rest_is_summed() -> None:
    """Those that run longest have series of their own."""
    found = values(ContainerFamilies(labelled=2), [row(n) for n in (3, 1, 4, 2)])
    assert found["pids"] == {"c1": 3, "c2": 3, "_other": 6}
    assert found["cpu_seconds_total"] == {"c1": 2, "c2": 2, "_other": 4}
    assert found["info"] == {"c1": 1, "c2": 1}


def test_who_has_series_keeps_them() -> None:
    """A container that runs longer and is seen later does not take another one's place."""
    families = ContainerFamilies(labelled=2)
    values(families, [row(5), row(6)])
    assert set(values(families, [row(5), row(6), row(1)])["pids"]) == {"c5", "c6", "_other"}
    assert set(values(families, [row(6), row(7), row(1)])["pids"]) == {"c6", "c1", "_other"}


def test_the_counters_of_the_rest_never_fall() -> None:
    """Neither when one of them ends nor when one begins anew; gauges do."""
    families = ContainerFamilies(labelled=0)

    def logged(*rows: Row) -> tuple[float, float]:
        found = values(families, list(rows))
        return found["log_written_lines_total"]["_other"], found.get("pids", {}).get("_other", 0)

    assert logged(row(1, lines=10), row(2, lines=5)) == (15, 6)
    assert logged(row(1, lines=12), row(2, lines=5)) == (17, 6)
    assert logged(row(2, lines=6)) == (18, 3)
    assert logged(row(2, lines=2)) == (20, 3)  # from nothing again
    assert logged(row(2, lines=3, sample=None)) == (21, 0)
    assert logged(row(2, lines=3)) == (21, 3)
    found = values(families, [row(2, lines=3)])
    assert found["cpu_seconds_total"]["_other"] == 4  # what was unread once is not counted twice


class SlowFiles:
    """Containers, some of whose files hang."""

    def __init__(self, count: int, slow: int) -> None:
        self.containers = [container(State.RUNNING, name=f"c{n}") for n in range(count)]
        for number, one in enumerate(self.containers):
            one.definition = container(container_id=f"{number:012x}{0:052x}").definition
        self._slow = slow
        self.release = False

    def running(self) -> Iterable[Container]:
        return self.containers

    def log_totals(self, container: Container) -> LogCounts:
        return LogCounts()

    def sample(self, container: Container) -> Sample:
        number = int(container.id[:12], 16)
        if number == 1:
            raise FileNotFoundError
        while number >= self._slow and not self.release:
            time.sleep(0.005)
        return SAMPLE


async def test_all_are_read() -> None:
    """One that has just ended has no sample, and does not keep the others from theirs."""
    source = SlowFiles(40, slow=40)
    rows = await ContainerReader(source).read()
    assert [row.sample is None for row in rows] == [False, True, *[False] * 38]
    found = values(ContainerFamilies(), rows)
    assert len(found["info"]) == 1  # they are all called web
    outcomes = {
        sample.labels["series"]: sample.value
        for family in ContainerFamilies(labelled=10).families(rows)
        for sample in family.samples
        if sample.name == "wharfinger_scraped_containers"
    }
    assert outcomes == {"own": 10, "other": 30, "unread": 1}


async def test_a_read_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that hang are done without: the rest is there, and the scrape ends."""
    monkeypatch.setattr(container_rows, "READ_LIMIT_S", 1.0)
    source = SlowFiles(40, slow=32)
    try:
        with trio.fail_after(60):
            rows = await ContainerReader(source).read()
        assert sum(row.sample is not None for row in rows) == 31
        assert all(row.sample is None for row in rows[32:])
    finally:
        source.release = True


async def test_scrapes_at_the_same_time_share_what_was_read(autojump_clock: MockClock) -> None:
    """Two scrapers cost the containers one look."""
    looks = 0

    class Counted(SlowFiles):
        def running(self) -> Iterable[Container]:
            nonlocal looks
            looks += 1
            return ()

    from supervisor.otp import Supervisor
    from tests.services.metrics.support import Fakes

    root = Supervisor(name="root")
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        exposition = Fakes(root, Counted(0, 0)).exposition
        async with trio.open_nursery() as scrapers:
            for _ in range(3):
                scrapers.start_soon(exposition.render)
        assert looks == 1
        await trio.sleep(1)
        await exposition.render()
        assert looks == 2
        nursery.cancel_scope.cancel()
