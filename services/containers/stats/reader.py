"""Reads the kernel's files about one container. Blocks: for a thread."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from services.containers.cgroup_files import CgroupFiles
from services.containers.container import Container
from services.containers.stats import parse
from services.containers.stats.values import InterfaceCounters, Sample

# The CPU's time comes last: it is compared with the host's, which is read next.
FILES_V1: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "blkio": (
            "blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive",
        ),
        "pids": ("pids.current", "pids.max"),
        "memory": (
            "memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes",
            "memory.failcnt", "memory.stat",
        ),
        "cpu": ("cpu.stat",),
        "cpuacct": ("cpuacct.usage_percpu", "cpuacct.stat", "cpuacct.usage"),
    }
)  # fmt: skip
FILES_V2: Final = (
    "memory.current", "memory.max", "memory.events", "memory.stat", "pids.current", "pids.max",
    "io.stat", "cpu.stat",
)  # fmt: skip


class KernelFiles:
    """Where samples come from."""

    def __init__(
        self, files: CgroupFiles, *, host_memory_bytes: int, proc: Path = Path("/proc")
    ) -> None:
        self._files = files
        self._host_memory_bytes = host_memory_bytes
        self._proc = proc

    def read(self, container: Container) -> Sample:
        """What a running container uses now. Some fifteen small files.

        Raises:
            OSError: it does not run any more.
        """
        texts = self._texts(container)
        if not any(texts.values()):
            raise FileNotFoundError(f"the cgroup of container {container.id} is gone")
        proc_stat = (self._proc / "stat").read_text()
        read_ns = time.time_ns()
        networks = self._networks(container)
        host_bytes = self._host_memory_bytes
        if self._files.is_unified:
            return Sample(
                read_ns=read_ns,
                cpu=parse.cpu_v2(texts, proc_stat),
                memory=parse.memory_v2(texts, host_bytes=host_bytes),
                pids=parse.pids(texts, unlimited=parse.NO_PIDS_LIMIT_V2),
                io_service_bytes=parse.block_counters_v2(texts["io.stat"]),
                io_serviced=None,
                networks=networks,
            )
        blkio_bytes, blkio_operations = (texts[name] for name in FILES_V1["blkio"])
        return Sample(
            read_ns=read_ns,
            cpu=parse.cpu_v1(texts, proc_stat),
            memory=parse.memory_v1(texts, host_bytes=host_bytes),
            pids=parse.pids(texts, unlimited=0),
            io_service_bytes=parse.block_counters_v1(blkio_bytes),
            io_serviced=parse.block_counters_v1(blkio_operations),
            networks=networks,
        )

    def _texts(self, container: Container) -> dict[str, str]:
        if self._files.is_unified:
            folder = self._files.folder(container, "cpu")  # any controller's: there is one
            return {name: _text(folder / name) for name in FILES_V2}
        return {
            name: _text(self._files.folder(container, controller) / name)
            for controller, names in FILES_V1.items()
            for name in names
        }

    def _networks(self, container: Container) -> dict[str, InterfaceCounters]:
        """Of the container's own namespace: the host's interfaces are not the container's."""
        if container.definition.host_config.network_mode == "host":
            return {}
        return parse.interfaces(_text(self._proc / str(container.status.pid) / "net" / "dev"))


def _text(path: Path) -> str:
    """A kernel without a controller, or a container that has just ended, has no such file."""
    try:
        return path.read_text()
    except OSError:
        return ""
