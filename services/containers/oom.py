"""Whether the kernel killed something of a container for want of memory: its cgroup counts it.

The count is exact where containerd's event may come late, or not at all while it is down.
"""

from __future__ import annotations

from services.containers.cgroup_files import CgroupFiles
from services.containers.container import Container


class OomCounter:
    """Reads the kernel's count. Blocks for a read of one small file."""

    def __init__(self, files: CgroupFiles) -> None:
        self._files = files

    def kills(self, container: Container) -> int:
        """How many processes were killed in the container's cgroup.

        Raises:
            OSError: the cgroup is gone.
        """
        file = "memory.events" if self._files.is_unified else "memory.oom_control"
        text = (self._files.folder(container, "memory") / file).read_text()
        fields = dict(line.split() for line in text.splitlines())
        return int(fields.get("oom_kill", "0"))
