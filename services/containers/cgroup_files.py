"""Where the kernel's files about a container lie: the folder of its cgroup under each controller.

The runtime made the cgroup from the path in the OCI spec; this follows it to the file system.
"""

from __future__ import annotations

from pathlib import Path

from services.containers.container import Container
from services.containers.spec import SpecDefaults
from services.system import HostFacts


class CgroupFiles:
    """Names the folders of containers' cgroups. Reads nothing."""

    def __init__(self, *, facts: HostFacts, defaults: SpecDefaults) -> None:
        self._cgroup = facts.cgroup
        self._defaults = defaults

    @property
    def is_unified(self) -> bool:
        """Whether it is cgroup version 2, where one folder has the files of all controllers."""
        return self._cgroup.version == "2"

    def folder(self, container: Container, controller: str) -> Path:
        """The folder with a container's files of one controller ("memory", "cpu", ...)."""
        mount = Path(self._cgroup.mountpoints.get(controller, "/sys/fs/cgroup"))
        return mount / self._path(container)

    def _path(self, container: Container) -> str:
        parent = container.definition.host_config.cgroup_parent or self._defaults.cgroup_parent
        if self._defaults.cgroup_driver == "systemd":
            return f"{_slice_path(parent or 'system.slice')}/docker-{container.id}.scope"
        return f"{(parent or '/docker').strip('/')}/{container.id}"


def _slice_path(name: str) -> str:
    """systemd nests a-b.slice in a.slice. Source: systemd.slice(5)."""
    words = name.removesuffix(".slice").split("-")
    return "/".join("-".join(words[: i + 1]) + ".slice" for i in range(len(words)))
