"""The reloader's parts, and what the events tell of a reload."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from services.events import Event, EventBus
from services.system import HostFacts
from supervisor.configuration.in_force import Current, prepare
from supervisor.configuration.settings import Settings
from supervisor.process.notify import Notifier

from .reloader import Reloader

if TYPE_CHECKING:
    from .steps import Changer


def build_reloader(
    *,
    current: Current,
    make_changer: Callable[[], Changer],
    facts: HostFacts,
    engine_id: str,
    bus: EventBus,
    notifier: Notifier,
    read: Callable[[], Settings],
) -> Reloader:
    """Make it. `read` blocks: flags and file, merged and checked."""

    async def announce(error: str) -> None:
        await bus.commit(reload_event(current.settings(), engine_id=engine_id, error=error))

    return Reloader(
        current=current,
        read=read,
        prepare=partial(prepare, facts=facts),
        make_changer=make_changer,
        notifier=notifier,
        announce=announce,
    )


def reload_event(settings: Settings, *, engine_id: str, error: str = "") -> Event:
    """dockerd's `reload` event, with the settings in force; of a failed one also the error.

    Source: moby, daemon/reload.go.
    """
    registry, containers = settings.registry, settings.containers
    attributes = {
        "debug": str(settings.log.debug).lower(),
        "default-ipc-mode": containers.ipc_mode,
        "default-runtime": containers.default_runtime,
        "default-shm-size": str(containers.shm_size_bytes),
        "labels": json.dumps(list(settings.labels)),
        "insecure-registries": json.dumps(
            [*map(str, registry.insecure_networks), *sorted(registry.insecure_hosts)]
        ),
        "live-restore": str(settings.live_restore).lower(),
        "max-concurrent-downloads": str(registry.max_downloads),
        "max-concurrent-uploads": str(registry.max_uploads),
        "max-download-attempts": str(registry.max_attempts),
        "name": socket.gethostname(),
        "registry-mirrors": json.dumps(list(registry.mirrors)),
        "runtimes": " ".join(["runc", *(runtime.name for runtime in containers.runtimes)]),
        "shutdown-timeout": str(settings.shutdown_timeout_s),
    }
    if error:
        attributes["error"] = error
    return Event(
        type="daemon",
        action="reload",
        actor_id=engine_id,
        attributes=attributes,
        time_ns=time.time_ns(),
    )
