"""What the engine, containerd and the kernel hold on account of containers, counted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from benchlib.bench import Bench
from benchlib.engines import Engine

STACKS_LIMIT_S: Final = 20.0
CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """One count of everything. Memory in MB of 10^6 bytes; it and `disk_mb` may grow."""

    memory_mb: float
    descriptors: int
    threads: int
    tasks: int  # trio's
    containerd_memory_mb: float
    containerd_descriptors: int
    containerd_containers: int
    containerd_tasks: int
    snapshots: int
    leases: int
    shims: int
    mounts: int
    cgroups: int
    network_namespaces: int
    links: int  # in the engine's network namespace
    fifos: int
    folders: int
    disk_mb: float  # of the engine's database


NAMES: Final = tuple(field.name for field in fields(Holdings))
JUDGED: Final = tuple(
    name for name in NAMES if name not in ("memory_mb", "containerd_memory_mb", "disk_mb")
)


def holdings(bench: Bench, engine: Engine, ids: Set[str]) -> Holdings:
    """Count now. `ids` are the containers' that there were."""
    folder, pid, containerd = engine.folder, engine.pid, bench.containerd
    return Holdings(
        memory_mb=_memory_mb(pid),
        descriptors=_count(Path(f"/proc/{pid}/fd")),
        threads=_count(Path(f"/proc/{pid}/task")),
        tasks=_trio_tasks(engine),
        containerd_memory_mb=_memory_mb(containerd.pid),
        containerd_descriptors=_count(Path(f"/proc/{containerd.pid}/fd")),
        containerd_containers=containerd.count(engine.namespace, "containers", "ls", "-q"),
        containerd_tasks=containerd.count(engine.namespace, "tasks", "ls", "-q"),
        snapshots=containerd.count(engine.namespace, "snapshots", "ls"),
        leases=containerd.count(engine.namespace, "leases", "ls", "-q"),
        shims=sum(1 for _ in _shims(str(containerd.address))),
        mounts=Path("/proc/self/mounts").read_text().count(f" {bench.folder}/"),
        cgroups=sum(1 for _ in _cgroups(ids)),
        network_namespaces=_count(folder / "exec" / "netns"),
        links=len(Path(f"/proc/{pid}/net/dev").read_text().splitlines()) - 2,
        fifos=_count(folder / "exec" / "io"),
        folders=_count(folder / "data" / "containers"),
        disk_mb=sum(path.stat().st_size for path in (folder / "data").glob("*.db*")) / 1e6,
    )


def _memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def _count(folder: Path) -> int:
    with suppress(FileNotFoundError):
        return len(os.listdir(folder))
    return 0


def _trio_tasks(engine: Engine) -> int:
    """SIGQUIT has the daemon write the stack of each."""
    folder = engine.folder / "exec"
    for path in folder.glob("task-stacks-*"):
        path.unlink()
    os.kill(engine.pid, signal.SIGQUIT)
    deadline, text = time.monotonic() + STACKS_LIMIT_S, ""
    while "\nthread " not in text and time.monotonic() < deadline:
        time.sleep(0.1)
        text = "".join(path.read_text() for path in folder.glob("task-stacks-*"))
    return sum(line.lstrip().startswith("task ") for line in text.splitlines())


def _shims(address: str) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal():
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if words[0].endswith(b"containerd-shim-runc-v2") and address.encode() in words:
                    yield int(entry.name)


def _cgroups(ids: Set[str]) -> Iterator[Path]:
    for folder in [*CGROUPS.glob("docker"), *CGROUPS.glob("*/docker")]:
        with suppress(OSError):
            yield from (path for path in folder.iterdir() if path.name in ids)
