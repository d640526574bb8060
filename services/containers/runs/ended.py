"""The record of a run that has ended."""

from __future__ import annotations

from loguru import logger

from services.containers.container import Container
from services.containers.journal import Journal, container_event, network_events
from services.containers.lifecycle import LifeEvent, next_state
from services.containers.model import ExitStatus
from services.containers.mount_sources import volume_events
from services.containers.networking.settings import ids_of

log = logger.bind(service="containers")


async def record_ended(
    journal: Journal,
    container: Container,
    exit_: ExitStatus,
    *,
    comes_back: bool,
    oom_killed: bool,
) -> None:
    """Row and events in one transaction. The caller has the container's turn.

    `comes_back`: its restart policy starts it again. That the kernel killed something of it is told
    before, if containerd has not said so yet: its event may come late.
    """
    status = container.status
    happening = LifeEvent.RESTART_DUE if comes_back else LifeEvent.EXITED
    ran_for_s = max(0, exit_.exited_at_ns - status.started_at_ns) // 10**9
    attributes = {"exitCode": str(exit_.code), "execDuration": str(ran_for_s)}
    oom = container_event(container, "oom", time_ns=exit_.exited_at_ns)
    is_oom_news = oom_killed and container.oom_told_run != status.runs
    container.ended_run = status.runs
    await journal.change_status(
        container,
        *((oom,) if is_oom_news else ()),
        container_event(container, "die", attributes, time_ns=exit_.exited_at_ns),
        *network_events(
            container,
            status.networks,
            status.places,
            "disconnect",
            time_ns=exit_.exited_at_ns,
        ),
        *volume_events(container, "unmount", time_ns=exit_.exited_at_ns),
        state=next_state(container.state, happening),
        pid=0,
        exit_code=exit_.code,
        error=exit_.error,
        oom_killed=oom_killed,
        finished_at_ns=exit_.exited_at_ns,
        restart_count=status.restart_count + int(comes_back),
        network_ids=ids_of(status.networks) or status.network_ids,
        networks={},
        places={},
        loose={},
        ports=[],
    )
    log.info("container exited", container=container.id, code=exit_.code, oom=oom_killed)
