"""The record of a run that has begun."""

from __future__ import annotations

from collections.abc import Mapping

from services.containers.config import EndpointSettings
from services.containers.container import Container
from services.containers.journal import Journal, container_event, network_events
from services.containers.model import Place, State
from services.containers.mount_sources import volume_events


async def record_started(
    journal: Journal,
    container: Container,
    state: State,
    *,
    pid: int,
    boot_id: str,
    networks: Mapping[str, EndpointSettings],
    places: Mapping[str, Place],
    now_ns: int,
) -> None:
    """Row and events in one transaction. The caller has the container's turn."""
    await journal.change_status(
        container,
        *network_events(container, networks, places, "connect", time_ns=now_ns),
        *volume_events(container, "mount", time_ns=now_ns),
        container_event(container, "start", time_ns=now_ns),
        state=state,
        pid=pid,
        exit_code=0,
        error="",
        oom_killed=False,
        started_at_ns=now_ns,
        stopped_by_user=False,
        stopped_for="",
        failed_health=False,
        boot_id=boot_id,
        runs=container.status.runs + 1,
        networks=dict(networks),
        places=dict(places),
        loose={},
    )
