"""What the engine's events tell of a reload."""

from __future__ import annotations

import json
import socket
import time

from services.events import Event
from supervisor.configuration.settings import Settings


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
