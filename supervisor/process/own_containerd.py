"""Which containerd the engine runs, if it runs one."""

from __future__ import annotations

from services.containerd.process_config import ProcessConfig
from supervisor.configuration.settings import Settings


def containerd_config(settings: Settings) -> ProcessConfig | None:
    """Our own containerd's, unless the address of another one is given."""
    if settings.containerd.address is not None:
        return None
    # It tells of every plugin and every shim at `info`.
    level = "debug" if settings.log.debug else "warn"
    return ProcessConfig(
        data_root=settings.data_root, exec_root=settings.exec_root, log_level=level
    )
