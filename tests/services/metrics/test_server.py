"""services.metrics: a real scrape over HTTP, with dockerd's names and the tree's restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
import trio.testing
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from services.metrics import EngineFacts, EngineMetrics, MetricsServer, SupervisionMetrics
from supervisor.otp import ChildSpec, Intensity, Supervisor

FACTS = EngineFacts(
    version="0.1.0",
    commit="c0ffee",
    architecture="x86_64",
    graphdriver="overlayfs",
    kernel="6.1.0",
    os="Debian GNU/Linux 12 (bookworm)",
    os_type="linux",
    os_version="12",
    daemon_id="id",
    cpus=4,
    memory_bytes=8 << 30,
)


class FakeContainers:
    def count_states(self) -> Mapping[str, int]:
        return {"running": 3, "stopped": 2}


class FakeEvents:
    published = 17
    subscribers = 2


class FakeLogs:
    written_lines = 5
    written_bytes = 50
    dropped_lines = 1
    dropped_bytes = 10


@asynccontextmanager
async def served(registry: CollectorRegistry) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server of `registry`."""
    async with trio.open_nursery() as nursery:
        url = await nursery.start(MetricsServer("127.0.0.1:0", registry).run)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield client
        nursery.cancel_scope.cancel()


async def scrape(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_scrape_has_dockerds_names() -> None:
    """The engine's facts and counts come under dockerd's names, with the process's own."""
    registry = CollectorRegistry()
    registry.register(
        EngineMetrics(FACTS, containers=FakeContainers(), events=FakeEvents(), logs=FakeLogs())
    )
    ProcessCollector(registry=registry)
    async with served(registry) as client:
        samples = await scrape(client)
    plain = {name: value for (name, labels), value in samples.items() if not labels}
    assert plain["engine_daemon_engine_cpus_cpus"] == 4
    assert plain["engine_daemon_engine_memory_bytes"] == 8 << 30
    assert plain["engine_daemon_events_total"] == 17
    assert plain["engine_daemon_events_subscribers_total"] == 2
    assert plain["wharfinger_logs_written_lines_total"] == 5
    assert plain["wharfinger_logs_written_bytes_total"] == 50
    assert plain["wharfinger_logs_dropped_lines_total"] == 1
    assert plain["wharfinger_logs_dropped_bytes_total"] == 10
    assert plain["process_resident_memory_bytes"] > 0
    states = {
        dict(labels)["state"]: value
        for (name, labels), value in samples.items()
        if name == "engine_daemon_container_states_containers"
    }
    assert states == {"running": 3, "paused": 0, "stopped": 2}
    (info,) = [dict(labels) for (name, labels) in samples if name == "engine_daemon_engine_info"]
    assert info["kernel"] == "6.1.0"
    assert info["graphdriver"] == "overlayfs"


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/x"])
async def test_other_paths_are_not_found(path: str) -> None:
    """Only /metrics is there."""
    async with served(CollectorRegistry()) as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.text) == (404, "404 page not found\n")


async def test_address_in_use_is_a_start_error() -> None:
    """An address that cannot be bound fails the start, before it is called ready."""
    async with trio.open_nursery() as nursery:
        url = await nursery.start(MetricsServer("127.0.0.1:0", CollectorRegistry()).run)
        address = str(url).removeprefix("http://")
        with pytest.raises((OSError, ExceptionGroup)) as caught:
            await nursery.start(MetricsServer(address, CollectorRegistry()).run)
        error = caught.value
        assert isinstance(error, OSError) or caught.group_contains(OSError)
        nursery.cancel_scope.cancel()


async def test_serves_again_after_a_restart() -> None:
    """`run` may be called again on the same address as soon as it ended."""
    registry = CollectorRegistry()
    async with trio.open_nursery() as nursery:
        url = await nursery.start(MetricsServer("127.0.0.1:0", registry).run)
        nursery.cancel_scope.cancel()
    server = MetricsServer(str(url).removeprefix("http://"), registry)
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            assert await nursery.start(server.run) == url
            async with httpx.AsyncClient(trust_env=False) as client:
                assert (await client.get(f"{url}/metrics")).status_code == 200
            nursery.cancel_scope.cancel()


async def test_restarts_are_counted_by_place() -> None:
    """A child that crashes twice counts two restarts at its place; container ids are folded."""
    crashes = 2
    settled = trio.Event()

    async def crash() -> None:
        nonlocal crashes
        if crashes:
            crashes -= 1
            raise ZeroDivisionError
        settled.set()
        await trio.sleep_forever()

    child = ChildSpec(id="a" * 64, start=crash)
    root = Supervisor([child], name="root", intensity=Intensity(max_restarts=5))
    metrics = SupervisionMetrics(root)
    registry = CollectorRegistry()
    registry.register(metrics)
    async with trio.open_nursery() as nursery:
        await nursery.start(metrics.run)
        await nursery.start(root.run)
        await settled.wait()
        await trio.testing.wait_all_tasks_blocked()
        async with served(registry) as client:
            samples = await scrape(client)
        nursery.cancel_scope.cancel()
    place = frozenset({("supervisor", "root"), ("child", "*")})
    assert samples["wharfinger_supervision_restarts_total", place] == 2
    kind = frozenset({("supervisor", "root"), ("kind", "child_terminated")})
    assert samples["wharfinger_supervision_reports_total", kind] == 2
