"""services.metrics: a real scrape over HTTP, with dockerd's names and the engine's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from services.metrics import MetricsServer
from supervisor.otp import ChildSpec, Supervisor
from tests.services.metrics.support import Fakes, Labels, parse
from tests.support.ports import free_port


@asynccontextmanager
async def running_root() -> AsyncIterator[Supervisor]:
    """A tree of one part."""
    root = Supervisor([ChildSpec(id="store", start=trio.sleep_forever)], name="root")
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        yield root
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def served() -> AsyncIterator[tuple[httpx.AsyncClient, Fakes]]:
    """A client of a server, and what the server reads."""
    async with running_root() as root, trio.open_nursery() as nursery:
        fakes = Fakes(root)
        url = await nursery.start(MetricsServer("127.0.0.1:0", fakes.exposition).run)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            yield client, fakes
        nursery.cancel_scope.cancel()


async def scrape(client: httpx.AsyncClient) -> dict[tuple[str, Labels], float]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return parse(answer.text)


async def test_scrape_has_dockerds_names() -> None:
    """The engine's facts and counts come under dockerd's names, with the process's own."""
    async with served() as (client, fakes):
        fakes.containers.actions.observe("start", 0.2)
        fakes.containers.probes.add("ok", count=3)
        fakes.containers.probes.add("failed")
        fakes.builds.failures.add("build_canceled")
        fakes.jobs.durations.observe("pull", 2.0)
        fakes.images.observe("delete", 0.1)
        fakes.networks.observe("allocate", 0.01)
        fakes.api.durations.observe("GET /info", 0.01)
        samples = await scrape(client)
    plain = {name: value for (name, labels), value in samples.items() if not labels}
    assert plain["engine_daemon_engine_cpus_cpus"] == 4
    assert plain["engine_daemon_engine_memory_bytes"] == 8 << 30
    assert plain["engine_daemon_events_total"] == 17
    assert plain["engine_daemon_events_subscribers_total"] == 2
    assert plain["engine_daemon_health_checks_total"] == 4
    assert plain["engine_daemon_health_checks_failed_total"] == 1
    assert plain["builder_builds_triggered_total"] == 3
    assert plain["wharfinger_logs_written_lines_total"] == 5
    assert plain["wharfinger_logs_dropped_bytes_total"] == 10
    assert plain["process_resident_memory_bytes"] > 0
    by_state = one_label(samples, "engine_daemon_container_states_containers", "state")
    assert by_state == {"running": 3, "paused": 0, "stopped": 2}
    images = one_label(samples, "engine_daemon_image_actions_seconds_count", "action")
    assert images == {"delete": 1, "history": 0, "pull": 1, "push": 0}
    networks = one_label(samples, "engine_daemon_network_actions_seconds_count", "action")
    assert networks == {"allocate": 1, "connect": 0, "release": 0}
    host = one_label(samples, "engine_daemon_host_info_functions_seconds_count", "function")
    assert host == {"system_info": 1}
    assert plain["logger_log_write_operations_failed_total"] == 6
    actions = one_label(samples, "engine_daemon_container_actions_seconds_count", "action")
    assert actions == {"changes": 0, "commit": 0, "create": 0, "delete": 0, "start": 1}
    assert one_label(samples, "builder_builds_failed_total", "reason")["build_canceled"] == 1
    (info,) = [dict(labels) for (name, labels) in samples if name == "engine_daemon_engine_info"]
    assert info["kernel"] == "6.1.0"
    assert info["graphdriver"] == "overlayfs"


async def test_scrape_tells_how_the_engine_does() -> None:
    """Loop, queues, containerd, API, registries."""
    async with served() as (client, fakes):
        fakes.lag.histogram.observe(0.02)
        fakes.calls.calls.observe("/c/Get", 0.0004)
        fakes.calls.failures.add("/c/Get", "NotFound")
        fakes.api.durations.observe("GET /info", 0.001)
        fakes.api.answers.add("GET /info", "200")
        fakes.jobs.results.add("pull", "failed")
        samples = await scrape(client)
    assert samples["wharfinger_loop_lag_seconds_count", frozenset()] == 1
    below = frozenset({("le", "0.025")})
    assert samples["wharfinger_loop_lag_seconds_bucket", below] == 1
    assert one_label(samples, "wharfinger_queue_depth", "queue")["store_writes"] == 7
    calls = one_label(samples, "wharfinger_containerd_call_duration_seconds_count", "method")
    assert calls == {"/c/Get": 1}
    labels = frozenset({("method", "/c/Get"), ("error", "NotFound")})
    assert samples["wharfinger_containerd_call_failures_total", labels] == 1
    answered = frozenset({("operation", "GET /info"), ("code", "200")})
    assert samples["wharfinger_api_answers_total", answered] == 1
    assert samples["wharfinger_api_open_requests", frozenset()] == 2
    assert one_label(samples, "wharfinger_registry_open_jobs", "action") == {"pull": 1, "push": 0}


async def test_scrape_shows_the_tree() -> None:
    """Each part's state and crashes, and what is left of a supervisor's patience."""
    async with served() as (client, fakes):
        fakes.reports.restarts.add("root/engine", "images", count=2)
        samples = await scrape(client)
    place = frozenset({("supervisor", "root/engine"), ("child", "images")})
    assert samples["wharfinger_supervision_restarts_total", place] == 2
    assert one_label(samples, "wharfinger_supervision_crashes_total", "part") == {
        "root": 0,
        "root/store": 0,
    }
    assert one_label(samples, "wharfinger_supervision_restarts_left", "supervisor") == {"root": 1}
    running = frozenset({("part", "root/store"), ("state", "running")})
    assert samples["wharfinger_supervision_state_seconds", running] >= 0


def one_label(samples: dict[tuple[str, Labels], float], name: str, label: str) -> dict[str, float]:
    """The samples of a family, by one of their labels."""
    return {dict(labels)[label]: v for (found, labels), v in samples.items() if found == name}


async def test_the_client_chooses_the_format() -> None:
    """OpenMetrics if it is asked for, compressed if that is understood."""
    async with served() as (client, _):
        accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
        answer = await client.get("/metrics", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.text.endswith("# EOF\n")
        plain = await client.get("/metrics", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/x"])
async def test_other_paths_are_not_found(path: str) -> None:
    """Only /metrics is there."""
    async with served() as (client, _):
        answer = await client.get(path)
    assert (answer.status_code, answer.text) == (404, "404 page not found\n")


async def test_address_in_use_is_a_start_error() -> None:
    """An address that cannot be bound fails the start, before it is called ready."""
    async with running_root() as root, trio.open_nursery() as nursery:
        exposition = Fakes(root).exposition
        url = await nursery.start(MetricsServer("127.0.0.1:0", exposition).run)
        address = str(url).removeprefix("http://")
        with pytest.raises((OSError, ExceptionGroup)) as caught:
            await nursery.start(MetricsServer(address, exposition).run)
        error = caught.value
        assert isinstance(error, OSError) or caught.group_contains(OSError)
        nursery.cancel_scope.cancel()


async def test_serves_again_after_a_restart() -> None:
    """`run` may be called again on the same address as soon as it ended."""
    async with running_root() as root:
        address = f"127.0.0.1:{free_port()}"
        url, server = f"http://{address}", MetricsServer(address, Fakes(root).exposition)
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                assert await nursery.start(server.run) == url
                async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                    assert (await client.get(f"{url}/metrics")).status_code == 200
                nursery.cancel_scope.cancel()
