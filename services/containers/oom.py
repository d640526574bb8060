"""Whether the kernel killed something of a container for want of memory: its cgroup counts it.

The count is exact where containerd's event may come late, or not at all while it is down.
"""

from __future__ import annotations

from pathlib import Path

from services.containers.container import Container
from services.containers.spec import SpecDefaults
from services.system import HostFacts


class OomCounter:
    """Reads the kernel's count. Blocks for a read of one small file."""

    def __init__(self, *, facts: HostFacts, defaults: SpecDefaults) -> None:
        self._facts = facts
        self._defaults = defaults

    def kills(self, container: Container) -> int:
        """How many processes were killed in the container's cgroup.

        Raises:
            OSError: the cgroup is gone.
        """
        cgroup = self._facts.cgroup
        file = "memory.events" if cgroup.version == "2" else "memory.oom_control"
        mount = Path(cgroup.mountpoints.get("memory", "/sys/fs/cgroup"))
        text = (mount / self._path(container) / file).read_text()
        fields = dict(line.split() for line in text.splitlines())
        return int(fields.get("oom_kill", "0"))

    def _path(self, container: Container) -> str:
        parent = container.definition.host_config.cgroup_parent or self._defaults.cgroup_parent
        if self._defaults.cgroup_driver == "systemd":
            return f"{_slice_path(parent or 'system.slice')}/docker-{container.id}.scope"
        return f"{(parent or '/docker').strip('/')}/{container.id}"


def _slice_path(name: str) -> str:
    """systemd nests a-b.slice in a.slice. Source: systemd.slice(5)."""
    words = name.removesuffix(".slice").split("-")
    return "/".join("-".join(words[: i + 1]) + ".slice" for i in range(len(words)))
