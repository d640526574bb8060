"""A private containerd for tests marked `engine`, with folders, socket and namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio

from services.containerd.errors import AlreadyExists
from services.containerd.facade import Containerd
from services.containerd.process_config import ProcessConfig
from services.containerd.values import ContainerRecord, RuncOptions

NAMESPACE = "engine-test"
BUSYBOX = "busybox-rootfs"
KEPT = {"containerd.io/gc.root": "test"}  # or the garbage collector may be faster than the test


@contextmanager
def private_config() -> Iterator[ProcessConfig]:
    """Folders with names short enough for sockets; what is left in them is ended and removed."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("containerd", "runc", "busybox"))):
        pytest.skip("needs root, containerd, runc and busybox")
    folder = Path(tempfile.mkdtemp(prefix="wf", dir="/tmp"))
    config = ProcessConfig(data_root=folder / "data", exec_root=folder / "run")
    try:
        yield config
    finally:
        _end_leftovers(folder, config)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def containerd_config() -> Iterator[ProcessConfig]:
    """A containerd that runs for the whole module, started without any code of ours."""
    with private_config() as config:
        config.folder.mkdir(parents=True)
        config.root.mkdir(parents=True)
        config.config_file.write_text(config.toml())
        with config.log_file.open("wb") as log:
            process = subprocess.Popen(
                ["containerd", "--config", str(config.config_file)], stdout=log, stderr=log
            )
        try:
            yield config
        finally:
            process.kill()
            process.wait()


@asynccontextmanager
async def connected(config: ProcessConfig) -> AsyncIterator[Containerd]:
    """Clients of a connection that is up; every call within the block has 60 s together."""
    containerd = Containerd(config.address, NAMESPACE)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(containerd.connection.run)
            await containerd.connection.wait_ready()
            await containerd.namespaces.ensure()
            yield containerd
            nursery.cancel_scope.cancel()


async def create_busybox(
    containerd: Containerd, config: ProcessConfig, id: str, args: Sequence[str]
) -> RuncOptions:
    """A container record over a snapshot with a static busybox in it; the options for its task."""
    with suppress(AlreadyExists):
        (mount,) = await containerd.snapshots.prepare(f"{BUSYBOX}-unpacking", labels=KEPT)
        _write_busybox(Path(mount.source))
        await containerd.snapshots.commit(BUSYBOX, f"{BUSYBOX}-unpacking", KEPT)
    await containerd.snapshots.prepare(id, BUSYBOX, KEPT)
    # Not runc's default folder, which the machine's own containerd uses.
    options = RuncOptions(root=str(config.exec_root / "runc"))
    await containerd.containers.create(
        ContainerRecord(
            id=id,
            spec=busybox_spec(id, args),
            runtime_options=options,
            snapshotter=containerd.snapshots.snapshotter,
            snapshot_key=id,
        )
    )
    return options


def busybox_spec(id: str, args: Sequence[str]) -> bytes:
    """The least OCI spec that runc runs on cgroup v1 and v2."""
    return json.dumps(
        {
            "ociVersion": "1.0.2",
            "process": busybox_process(args),
            "root": {"path": "rootfs"},
            "hostname": id,
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "cgroupsPath": f"/wharfinger-test-{os.getpid()}-{id}",
                "namespaces": [
                    {"type": name} for name in ("pid", "ipc", "uts", "mount", "network")
                ],
            },
        }
    ).encode()


def busybox_process(args: Sequence[str]) -> dict[str, object]:
    """The process part of a spec, also for exec."""
    return {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}


def _write_busybox(root: Path) -> None:
    for name in ("bin", "proc", "dev", "sys", "tmp"):
        (root / name).mkdir()
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin" / "busybox")
    for applet in ("sh", "sleep", "echo", "cat", "true"):
        (root / "bin" / applet).symlink_to("busybox")


def _end_leftovers(folder: Path, config: ProcessConfig) -> None:
    for init in config.state.glob("io.containerd.runtime.v2.task/*/*/init.pid"):
        with suppress(OSError, ValueError):
            os.kill(int(init.read_text()), signal.SIGKILL)
    for _ in range(100):
        left = list(_processes_about(folder))
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            break
        time.sleep(0.05)
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([path for path in mounts if path.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", mount], check=False)


def _processes_about(folder: Path) -> Iterator[int]:
    """containerd, shims and runcs: the processes with `folder` in their arguments."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if os.fsencode(f"{folder}/") in (entry / "cmdline").read_bytes():
                    yield int(entry.name)
